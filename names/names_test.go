package names

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
)

func addr(text string) tcp.Addr { return tcp.AddrFromNetip(netip.MustParseAddr(text)) }

var (
	client, other    = addr("10.0.0.5"), addr("10.0.0.6")
	server, resolver = addr("203.0.113.7"), addr("10.0.0.53")
	anyone           tcp.Addr
)

// segment is one from a client to the server's port 443.
func segment(t int64, from tcp.Addr) *tcp.Segment {
	return &tcp.Segment{Time: t, Src: from, Dst: server, SrcPort: 40000, DstPort: 443}
}

// datagram is one of the resolver.
func datagram(t int64, to tcp.Addr, from uint16) *tcp.Segment {
	return &tcp.Segment{Time: t, Src: resolver, Dst: to, SrcPort: from, DstPort: 40000}
}

// request is one to a web server.
func request(host string) []byte {
	return []byte("GET / HTTP/1.1\r\nUser-Agent: test\r\nHost: " + host + "\r\nAccept: */*\r\n\r\n")
}

func want(t *testing.T, b *Book, client tcp.Addr, port uint16, name string) {
	t.Helper()
	if got := b.Server(client, 0, server, port); got != name {
		t.Errorf("port %d for %v: %q, want %q", port, client, got, name)
	}
}

func TestAClientHelloNamesItsServer(t *testing.T) {
	for kind, h := range hellos(t) {
		b := New(16)
		b.Segment(segment(1, client), h.b)
		if got := b.Server(client, 0, server, 443); got != h.name {
			t.Errorf("%s: %q, want %q", kind, got, h.name)
		}
	}
}

func TestAPostQuantumClientHelloIsNamedByItsFirstSegment(t *testing.T) {
	h := hellos(t)["post-quantum key share"].b
	if len(h) <= 1448 {
		t.Fatalf("%d octets are not more than a segment", len(h))
	}
	b := New(16)
	b.Segment(segment(1, client), h[:1448])
	want(t, b, client, 443, "api.example.com")
}

// One address stands for many names.
func TestAConnectionHasItsOwnName(t *testing.T) {
	b := New(16)
	for i, name := range []string{"a.example", "b.example", "c.example"} {
		seg := segment(int64(i), client)
		seg.SrcPort += uint16(i)
		b.Segment(seg, request(name))
	}
	b.Segment(segment(9, other), request("d.example"))
	var got []string
	for _, port := range []uint16{40000, 40001, 40002, 40003, 0} {
		got = append(got, b.Server(client, port, server, 443))
	}
	if diff := cmp.Diff([]string{"a.example", "b.example", "c.example", "c.example", "c.example"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What the snap length leaves of a ClientHello gives the whole name or none.
func TestANameThatIsCutOffIsNotShown(t *testing.T) {
	for kind, h := range hellos(t) {
		found := 0
		for size := range len(h.b) {
			switch got := string(normal(nil, serverName(h.b[:size]))); got {
			case "":
			case h.name:
				found++
			default:
				t.Fatalf("%s: %q of the first %d octets", kind, got, size)
			}
		}
		if found == 0 && h.name != "" {
			t.Errorf("%s: no name of any part", kind)
		}
	}
	whole := request("api.example.com")
	for size := range len(whole) {
		host, proxy := requestHost(whole[:size])
		if got := string(host); got != "" && got != "api.example.com" || proxy {
			t.Fatalf("%q of %q", got, whole[:size])
		}
	}
}

func TestOtherTLSMessagesNameNobody(t *testing.T) {
	h := hellos(t)["TLS 1.3"].b
	for at, value := range map[int]byte{0: 0x17, 1: 2, 5: 2} { // application data; another protocol; ServerHello
		b := append([]byte(nil), h...)
		b[at] = value
		if name := serverName(b); name != nil {
			t.Errorf("octet %d is %#x: %q", at, value, name)
		}
	}
}

func TestARequestNamesItsServer(t *testing.T) {
	for _, c := range []struct{ request, name string }{
		{"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "api.example.com"},
		{"POST /x HTTP/1.0\r\nAccept: */*\r\nhOST:\tAPI.example.com:8080 \r\n\r\n", "api.example.com"},
		{"OPTIONS * HTTP/1.1\nHost: api.example.com\n\n", "api.example.com"},
		{"GET / HTTP/1.1\r\nHost: db_1\r\n", "db_1"},
		{"GET / HTTP/1.1\r\nHost: 203.0.113.7\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: 127.1:80\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n", ""},
		{"GET / HTTP/1.1\r\nHost:\r\n", ""},
		{"GET / HTTP/1.1\r\nX-Host: api.example.com\r\n", ""},
		{"GET / HTTP/1.1\r\nAccept: */*\r\n\r\nHost: body.example.com\r\n", ""},
		{"GET key\r\nHost: api.example.com\r\n", ""}, // some other protocol's GET
		{"GET / HTTP/1.1\r\nHost: a\x1b[31mb.example\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: a\u202eb.example\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: bücher.example\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n", "xn--bcher-kva.example"},
		{"GET / HTTP/1.1\r\nHost: a..example\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: .example\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: example.com.\r\n", "example.com"},
		{"GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 64) + ".example\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: " + strings.Repeat("abc.", 63) + "a\r\n", strings.Repeat("abc.", 63) + "a"},
		{"GET / HTTP/1.1\r\nHost: " + strings.Repeat("abc.", 63) + "ab\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: <script>\r\n", ""},
	} {
		b := New(16)
		b.Segment(segment(1, client), []byte(c.request))
		if got := b.Server(client, 0, server, 443); got != c.name {
			t.Errorf("%q: %q, want %q", c.request, got, c.name)
		}
	}
}

// A client of a proxy tells it, and then through it other servers, whom it means.
func TestAProxyIsNotCalledAsWhatIsBehindIt(t *testing.T) {
	for _, first := range []string{
		"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
		"GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
	} {
		b := New(16)
		b.Segment(segment(1, client), []byte(first))
		b.Segment(segment(2, client), hellos(t)["TLS 1.3"].b)
		want(t, b, client, 443, "")
		want(t, b, anyone, 443, "")
		b.Segment(segment(3, other), request("proxy.example.com"))
		want(t, b, other, 443, "proxy.example.com") // someone who uses it as a server
		want(t, b, client, 443, "")
		b.Datagram(datagram(4, client, 53), message{question: "squid.example.com", records: []rr{a("squid.example.com", "203.0.113.7")}}.wire())
		want(t, b, client, 443, "squid.example.com")
	}
}

func TestWhatAClientSaysComesBeforeWhatOthersSay(t *testing.T) {
	answered := func(name string) []byte {
		return message{question: name, records: []rr{a(name, "203.0.113.7")}}.wire()
	}
	b := New(16)
	want(t, b, client, 443, "")
	b.Datagram(datagram(1, other, 53), answered("dns-other.example"))
	want(t, b, client, 443, "dns-other.example")
	b.Segment(segment(2, other), request("host-other.example"))
	want(t, b, client, 443, "host-other.example")
	want(t, b, client, 25, "dns-other.example") // what was said on port 443 is about that
	b.Datagram(datagram(3, client, 53), answered("dns-own.example"))
	want(t, b, client, 443, "dns-own.example")
	want(t, b, client, 25, "dns-own.example")
	want(t, b, other, 443, "host-other.example")
	b.Segment(segment(4, client), request("host-own.example"))
	want(t, b, client, 443, "host-own.example")
	want(t, b, client, 25, "dns-own.example")
	want(t, b, anyone, 443, "host-own.example") // the newest
	want(t, b, anyone, 0, "dns-own.example")
}

func TestTheNewerNameStaysInWhateverOrderTheyCome(t *testing.T) {
	for _, times := range [][2]int64{{1, 2}, {2, 1}} {
		b := New(16)
		for _, at := range times {
			b.Segment(segment(at, client), request(fmt.Sprintf("at-%d.example", at)))
		}
		want(t, b, client, 443, "at-2.example")
	}
	for _, names := range [][2]string{{"a.example", "b.example"}, {"b.example", "a.example"}} {
		b := New(16)
		for _, name := range names {
			b.Segment(segment(1, client), request(name))
		}
		want(t, b, client, 443, "b.example")
	}
}

func TestABookIsBounded(t *testing.T) {
	const limit = 100
	b := New(limit)
	at := func(i int) tcp.Addr { return tcp.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	for i := range 1000 {
		seg := segment(int64(i), client)
		seg.Dst = at(i)
		b.Segment(seg, request(fmt.Sprintf("n%d.example", i)))
		for _, c := range []*cache{&b.servers, &b.clients} {
			if n := len(c.young) + len(c.old); n > limit {
				t.Fatalf("%d entries", n)
			}
		}
		// One that is in use stays.
		b.Segment(segment(int64(i), other), request("kept.example"))
	}
	want(t, b, other, 443, "kept.example")
	var got []string
	for i := range 1000 {
		if name := b.Server(client, 0, at(i), 443); name != "" {
			got = append(got, name)
		}
	}
	if len(got) < limit/2-1 || got[len(got)-1] != "n999.example" {
		t.Errorf("%d names are left, the last of them %v", len(got), got[max(0, len(got)-1):])
	}
}

// DefaultLimit says how much a full Book takes.
func TestAFullBookTakesNoMoreThanItSays(t *testing.T) {
	const promised = 40 << 20
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	b := New(DefaultLimit)
	for i := range 2 * DefaultLimit {
		seg := segment(int64(i), client)
		seg.Dst = tcp.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		b.Segment(seg, request(fmt.Sprintf("server-%06d.eu-west-1.example.com", i)))
	}
	if took := heap() - before; took > promised {
		t.Errorf("%d MiB", took>>20)
	} else {
		t.Logf("%d MiB", took>>20)
	}
	runtime.KeepAlive(b)
}

func TestWhatHoldsNoNameAllocatesNothing(t *testing.T) {
	b := New(16)
	seg := segment(1, client)
	nameless := hellos(t)["no name for an address"].b
	query := message{question: "api.example.com", query: true}.wire()
	got := testing.AllocsPerRun(100, func() {
		b.Segment(seg, nameless)
		b.Segment(seg, []byte("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"))
		b.Segment(seg, nil)
		b.Datagram(datagram(1, client, 53), query)
		b.Server(client, 0, server, 443)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestDNS(t *testing.T) {
	v6 := "2001:db8::7"
	for _, c := range []struct {
		name string
		m    message
		want map[string]string // by address
	}{
		{"an address", message{question: "api.example.com", records: []rr{a("api.example.com", "203.0.113.7")}},
			map[string]string{"203.0.113.7": "api.example.com"}},
		{"several addresses, of both kinds", message{question: "API.example.com", records: []rr{a("api.EXAMPLE.com", "203.0.113.7"), a("api.example.com", "203.0.113.8"), a("api.example.com", v6)}},
			map[string]string{"203.0.113.7": "api.example.com", "203.0.113.8": "api.example.com", v6: "api.example.com"}},
		{"a chain of aliases", message{question: "api.example.com", records: []rr{cname("api.example.com", "lb.cdn.example"), cname("lb.cdn.example", "e7.cdn.example"), a("e7.cdn.example", "203.0.113.7")}},
			map[string]string{"203.0.113.7": "api.example.com"}},
		{"a chain of aliases in another order", message{question: "api.example.com", records: []rr{a("e7.cdn.example", "203.0.113.7"), cname("lb.cdn.example", "e7.cdn.example"), cname("api.example.com", "lb.cdn.example")}},
			map[string]string{"203.0.113.7": "api.example.com"}},
		{"aliases in a circle", message{question: "api.example.com", records: []rr{cname("api.example.com", "b.example"), cname("b.example", "api.example.com"), a("c.example", "203.0.113.7")}}, nil},
		{"another name than was asked for", message{question: "api.example.com", records: []rr{a("bank.example", "203.0.113.7")}}, nil},
		{"a question", message{question: "api.example.com", query: true, records: []rr{a("api.example.com", "203.0.113.7")}}, nil},
		{"no such name", message{question: "api.example.com", rcode: 3, records: []rr{a("api.example.com", "203.0.113.7")}}, nil},
		{"another class", message{question: "api.example.com", records: []rr{{"api.example.com", typeA, 3, netip.MustParseAddr("203.0.113.7").AsSlice(), ""}}}, nil},
		{"a blocked name", message{question: "ads.example.com", records: []rr{a("ads.example.com", "0.0.0.0")}}, nil},
		{"no host name", message{question: "a b.example", records: []rr{a("a b.example", "203.0.113.7")}}, nil},
		{"a multicast answer", message{multicast: true, records: []rr{{"My Printer._ipp._tcp.local", 16, classIN, []byte{0}, ""}, {"printer.local", typeA, classIN | cacheFlush, netip.MustParseAddr("10.0.0.9").AsSlice(), ""}}},
			map[string]string{"10.0.0.9": "printer.local"}},
	} {
		b := New(64)
		port := uint16(53)
		if c.m.multicast {
			port = portMDNS
		}
		b.Datagram(datagram(1, client, port), c.m.wire())
		got := make(map[string]string)
		for _, at := range []string{"203.0.113.7", "203.0.113.8", v6, "10.0.0.9", "0.0.0.0"} {
			if name := b.Server(anyone, 0, addr(at), 0); name != "" {
				got[at] = name
			}
		}
		if c.want == nil {
			c.want = map[string]string{}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// Of an answer that is cut off, what is there is read.
func TestADNSAnswerThatIsCutOff(t *testing.T) {
	m := message{question: "api.example.com", records: []rr{cname("api.example.com", "lb.example"), a("lb.example", "203.0.113.7"), a("lb.example", "203.0.113.8")}}.wire()
	b := New(16)
	b.Datagram(datagram(1, client, 53), m[:len(m)-1])
	if got := b.Server(client, 0, server, 443) + " " + b.Server(client, 0, addr("203.0.113.8"), 443); got != "api.example.com " {
		t.Errorf("%q", got)
	}
}

func TestDNSPointersThatLeadNowhere(t *testing.T) {
	header := []byte{0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0}
	for _, name := range [][]byte{
		{0xc0, 12},           // to itself
		{1, 'a', 0xc0, 12},   // to what it is part of
		{0xc0, 14, 0xc0, 12}, // forwards
		{0xff, 0xff},         // beyond the end
		{0x40, 'a'},          // a label of a kind that there is not
		{63, 'a'},            // a label beyond the end
		{1, 'a'},             // no end
	} {
		b := append(append([]byte(nil), header...), name...)
		if got, _, ok := domainName(b, len(header), make([]byte, 0, maxName)); ok {
			t.Errorf("%x: %q", name, got)
		}
	}
}
