package names

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"
)

// firstWrite is a connection that ends after the first message to the peer, and keeps that.
type firstWrite struct{ sent []byte }

var errEnough = errors.New("enough")

func (c *firstWrite) Write(b []byte) (int, error) { c.sent = bytes.Clone(b); return 0, errEnough }
func (c *firstWrite) Read([]byte) (int, error)    { return 0, errEnough }
func (c *firstWrite) Close() error                { return nil }
func (c *firstWrite) LocalAddr() net.Addr         { return nil }
func (c *firstWrite) RemoteAddr() net.Addr        { return nil }

func (c *firstWrite) SetDeadline(time.Time) error      { return nil }
func (c *firstWrite) SetReadDeadline(time.Time) error  { return nil }
func (c *firstWrite) SetWriteDeadline(time.Time) error { return nil }

// hello is the ClientHello that crypto/tls sends.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	var c firstWrite
	if err := tls.Client(&c, config).Handshake(); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return c.sent
}

// echConfigs is a list with one configuration for Encrypted Client Hello, of a relay with that public name
// (RFC 9849 4).
func echConfigs(t testing.TB, public string) []byte {
	t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	contents := []byte{1}                      // id
	contents = be.AppendUint16(contents, 0x20) // DHKEM(X25519, HKDF-SHA256)
	contents = be.AppendUint16(contents, 32)   // octets of the key
	contents = append(contents, private.PublicKey().Bytes()...)
	contents = append(contents, 0, 4, 0, 1, 0, 1) // one cipher suite: HKDF-SHA256, AES-128-GCM
	contents = append(contents, 32, byte(len(public)))
	contents = append(contents, public...)
	contents = append(contents, 0, 0) // no extensions
	config := be.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(contents)))
	config = append(config, contents...)
	return append(be.AppendUint16(nil, uint16(len(config))), config...)
}

// hellos are ClientHellos of the kinds that clients send, all to api.example.com, and the name that each shows.
func hellos(t testing.TB) map[string]struct {
	b    []byte
	name string
} {
	t.Helper()
	type sent = struct {
		b    []byte
		name string
	}
	config := func() *tls.Config { return &tls.Config{ServerName: "api.example.com"} }
	old, classic, grease := config(), config(), config()
	old.MaxVersion = tls.VersionTLS12
	classic.CurvePreferences = []tls.CurveID{tls.X25519}
	grease.CurvePreferences = classic.CurvePreferences
	encrypted := config()
	encrypted.MinVersion = tls.VersionTLS13
	encrypted.EncryptedClientHelloConfigList = echConfigs(t, "relay.example.net")
	return map[string]sent{
		"TLS 1.2":                 {hello(t, old), "api.example.com"},
		"TLS 1.3":                 {hello(t, classic), "api.example.com"},
		"post-quantum key share":  {hello(t, config()), "api.example.com"},
		"Encrypted Client Hello":  {hello(t, encrypted), "relay.example.net"},
		"GREASE":                  {greased(hello(t, grease)), "api.example.com"},
		"no name for an address":  {hello(t, &tls.Config{ServerName: "203.0.113.7"}), ""},
		"a name beyond ASCII":     {hello(t, &tls.Config{ServerName: "xn--bcher-kva.example"}), "xn--bcher-kva.example"},
		"a dot at the name's end": {hello(t, &tls.Config{ServerName: "API.Example.COM."}), "api.example.com"},
	}
}

// greased puts an extension that means nothing before all others, as browsers do (RFC 8701).
func greased(b []byte) []byte {
	at := extensions(b)
	b = bytes.Join([][]byte{b[:at], {0x1a, 0x1a, 0, 3, 7, 7, 7}, b[at:]}, nil)
	for at, size := range map[int]int{3: len(b) - 5, 7: len(b) - 9, at - 2: len(b) - at} {
		binary.BigEndian.PutUint16(b[at:], uint16(size))
	}
	return b
}

// extensions returns where the first begins.
func extensions(b []byte) int {
	at := 5 + 4 + 2 + 32
	at += 1 + int(b[at])
	at += 2 + int(binary.BigEndian.Uint16(b[at:]))
	at += 1 + int(b[at])
	return at + 2
}
