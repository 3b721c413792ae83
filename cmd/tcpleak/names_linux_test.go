package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/kernel"
)

// TestNamesOfRealClients has a resolver, a TLS server and programs that use them, and holds the names against what tshark reads
// in the same packets.
func TestNamesOfRealClients(t *testing.T) {
	for _, program := range []string{"dnsmasq", "dig", "openssl", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("install %s: sudo apt-get install dnsmasq-base bind9-dnsutils openssl curl", program)
		}
	}
	t.Parallel()
	h := newHosts(t)
	dir := t.TempDir()
	address := h.Server.V4.String()
	certificate, key := selfSigned(t, dir)
	h.launch(t, "started", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts", "--pid-file=",
		"--host-record=e7.cdn.example,"+address, "--cname=lb.cdn.example,e7.cdn.example", "--cname=api.example.com,lb.cdn.example")
	server := h.launch(t, "", "openssl", "s_server", "-accept", "443", "-www", "-cert", certificate, "-key", key)
	for !strings.Contains(server.next(t).text, "ACCEPT") {
	}

	file := filepath.Join(dir, "traffic.pcap")
	live := h.capture(t, "-i", kernel.Device, "-w", file, "-s", "65535", "--format", "json")
	act(t, func() {
		h.Client.Command("", "dig", "+tries=1", "@"+address, "api.example.com")
		for _, args := range [][]string{
			{"-servername", "tls12.example.com", "-tls1_2"},
			{"-servername", "tls13.example.com", "-tls1_3"},
			{"-servername", "xn--bcher-kva.example"},
			{"-noservername"},
		} {
			h.Client.Command("", "openssl", append([]string{"s_client", "-connect", address + ":443"}, args...)...)
		}
		h.Client.Command("", "curl", "-s", "-k", "-o", "/dev/null", "--resolve", "curl.example.com:443:"+address, "https://curl.example.com/")
	})
	_ = kernel.Try(func() { // nobody answers
		h.Client.Command("", "curl", "-s", "-m", "1", "--resolve", "www.example.com:80:"+address, "http://www.example.com/path")
	})
	_ = kernel.Try(func() { h.Client.Dial(netip.AddrPortFrom(h.Server.V4, 81)) }) // refused
	time.Sleep(settle)
	lines, status := live.interrupt(t)
	if status != statusOK {
		t.Fatalf("exit status %d: %s", status, live.stderr())
	}
	got := namesByPort(t, lines)
	out, talk, status := tcpleak("-r", file, "--format", "json")
	if status != statusOK {
		t.Fatalf("exit status %d: %s", status, talk)
	}
	fromFile := namesByPort(t, strings.Split(strings.TrimSpace(out), "\n"))
	if diff := cmp.Diff(fromFile, got); diff != "" {
		t.Errorf("live, names are not those of -r (-file +live):\n%s", diff)
	}
	counts := make(map[string]int)
	for _, name := range fromFile {
		counts[name]++
	}
	want := map[string]int{
		"tls12.example.com": 1, "tls13.example.com": 1, "xn--bcher-kva.example": 1, "www.example.com": 1,
		"curl.example.com": 2, // the newest name that this client uses also stands where it gave none
		"api.example.com":  1, // by DNS, for the port that refuses
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if !strings.Contains(out, `"service":{"address":"`+address+`","port":81,"name":"api.example.com"}`) {
		t.Errorf("the service that refuses is not named: %s", out)
	}
	out, _, _ = tcpleak("-r", file, "-n", "--format", "json")
	if names := namesByPort(t, strings.Split(strings.TrimSpace(out), "\n")); strings.Contains(out, "example") {
		t.Errorf("names with -n: %v", names)
	}

	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("the comparison with tshark: install it with sudo apt-get install tshark")
	}
	fields, err := exec.Command("tshark", "-r", file, "-Y", "tls.handshake.extensions_server_name or http.host", "-Tfields",
		"-e", "tcp.srcport", "-e", "tls.handshake.extensions_server_name", "-e", "http.host").Output()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for line := range strings.Lines(string(fields)) {
		port, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if name = strings.TrimSpace(name); fromFile[port] != name {
			t.Errorf("client port %s: tshark reads %q, tcpleak %q", port, name, fromFile[port])
		}
		compared++
	}
	if compared != 5 {
		t.Errorf("tshark reads %d names: %s", compared, fields)
	}
}

// namesByPort returns the names of the servers in the connections of a report, by the client's port.
func namesByPort(t *testing.T, lines []string) map[string]string {
	t.Helper()
	names := make(map[string]string)
	for _, line := range lines {
		if _, err := checkShape(line); err != nil {
			t.Errorf("%v in %s", err, line)
		}
		var c struct {
			Type           string
			Client, Server struct {
				Port int
				Name string
			}
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if c.Type == "connection" {
			names[strconv.Itoa(c.Client.Port)] = c.Server.Name
		}
	}
	return names
}

// selfSigned writes a certificate and its key.
func selfSigned(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"api.example.com"}}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
