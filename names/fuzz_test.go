package names

import (
	"strings"
	"testing"
)

// checkName holds that a name is fit for a terminal, a page and a reader.
func checkName(t *testing.T, name string) {
	t.Helper()
	if len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || strings.Contains(name, "..") {
		t.Fatalf("%q", name)
	}
	if got := string(normal(nil, []byte(name))); got != name {
		t.Fatalf("%q is normally %q", name, got)
	}
}

func FuzzSegment(f *testing.F) {
	for _, h := range hellos(f) {
		f.Add(h.b)
		f.Add(h.b[:len(h.b)/2])
	}
	f.Add(request("api.example.com"))
	f.Add([]byte("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := New(4)
		b.Segment(segment(1, client), payload)
		checkName(t, b.Server(client, 0, server, 443))
	})
}

func FuzzDatagram(f *testing.F) {
	for _, m := range []message{
		{question: "api.example.com", records: []rr{cname("api.example.com", "lb.cdn.example"), a("lb.cdn.example", "203.0.113.7"), a("lb.cdn.example", "2001:db8::7")}},
		{question: "api.example.com", rcode: 3},
		{question: "api.example.com", query: true},
		{multicast: true, records: []rr{a("printer.local", "10.0.0.9")}},
	} {
		f.Add(m.wire(), m.multicast)
	}
	f.Fuzz(func(t *testing.T, payload []byte, multicast bool) {
		port := uint16(53)
		if multicast {
			port = portMDNS
		}
		b := New(64)
		b.Datagram(datagram(1, client, port), payload)
		for _, c := range []*cache{&b.servers, &b.clients} {
			if len(c.young) > maxAddresses {
				t.Fatalf("%d names of one message", len(c.young))
			}
			for _, e := range c.young {
				if e.name == "" {
					t.Fatal("a name that is none")
				}
				checkName(t, e.name)
			}
		}
	})
}
