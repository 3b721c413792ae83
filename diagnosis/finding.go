// Package diagnosis says what is wrong with connections: which end is at fault, since when, why, and what to do next.
package diagnosis

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Severity ranks findings.
type Severity uint8

// The severities, mildest first.
const (
	Info Severity = iota
	Warning
	Critical
)

// String returns the name in lower case: "warning".
func (s Severity) String() string { return [...]string{"info", "warning", "critical"}[s] }

// Kind names what is wrong, as in "stuck_close_wait".
type Kind string

// Culprit is the end at fault. Its address is the zero Addr where nobody or many are at fault, its port 0 where the
// connections of a finding come from several.
type Culprit struct {
	Role tracker.Role
	Addr tcp.Addr
	Port uint16
}

// Evidence is one segment that a finding rests on.
type Evidence struct {
	tracker.Mark
	From    tracker.Role
	Meaning string
}

// Growth is how a leak grows.
type Growth struct {
	PerMinute float64
	From, To  int           // connections at the beginning and at the end of Over
	Over      time.Duration // the time that it was watched for
	Limits    []Limit
}

// Limit is a number of descriptors that a leak will reach.
type Limit struct {
	Descriptors int
	In          time.Duration // from now, at the present rate
}

// MaxListed is how many connections a finding lists; it counts all of them.
const MaxListed = 10_000

// Finding is one thing that is wrong: with one connection, or with all those that share the kind, the culprit and the service.
type Finding struct {
	ID          int // from 1 within a report, the worst first
	Kind        Kind
	Severity    Severity
	Certainty   tracker.Certainty // of the connection that it is oldest at
	Connections []uint64          // in the order of their IDs, at most MaxListed
	Begins      []int64           // when each of Connections came to be so, ns since 1970; of an idle leak, when it opened
	Count       int               // how many connections it is about; 0 if it is about the capture
	Example     uint64            // the ID of the connection that it is oldest at; 0 if there is none to show
	Culprit     Culprit
	Culprits    int            // how many addresses are at fault, 0 if none is
	Service     netip.AddrPort // the connections' server; the zero value where there are many
	ServiceName string         // what clients call Service; "" if nobody knows, or nobody was asked (NameServices)
	Since       int64          // ns since 1970, of the oldest; for what happens in a moment, of the first
	For         time.Duration  // 0 for what happens in a moment
	ForAtLeast  bool           // For is a lower bound
	Growth      *Growth        // of a leak
	Summary     string         // what is wrong at which end, one line
	Cause       string         // in words for an engineer who does not remember RFC 9293
	Next        string         // what to do next, on which host: a clause that Command completes
	Command     string         // for a shell
	Evidence    []Evidence     // of the oldest
	Holders     []Holder       // on this host: who has the sockets at fault open; the first of them

	key     key
	lasts   bool   // For grows with time
	summary string // Summary, with agePlace for the time that it has lasted; "" if that is not in it
}

// agePlace is in no text: those of packets are addresses.
const agePlace = "\x00"

// tellAge writes Summary.
func (f *Finding) tellAge() {
	age := Age(f.For)
	if f.ForAtLeast {
		age = "at least " + age
	}
	f.Summary = strings.Replace(f.summary, agePlace, age, 1)
}

// At returns f as it stands at now, in ns since 1970, if nothing has happened to it since it was found: only older.
func (f *Finding) At(now int64) Finding {
	g := *f
	if g.lasts {
		g.For = time.Duration(now - g.Since)
		if g.summary != "" {
			g.tellAge()
		}
	}
	return g
}

// NextStep is Next and Command in one sentence.
func (f *Finding) NextStep() string {
	if f.Command == "" {
		return f.Next
	}
	return f.Next + ": " + f.Command
}

// key tells findings apart, and one group of connections from another.
type key struct {
	kind    Kind
	role    tracker.Role
	addr    tcp.Addr // of the culprit; zero where whoever it is belongs to one group
	service endpoint
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.role, o.role), compareAddr(k.addr, o.addr),
		compareAddr(k.service.addr, o.service.addr), cmp.Compare(k.service.port, o.service.port))
}

type endpoint struct {
	addr tcp.Addr
	port uint16
}

func endpointOf(e *tracker.Endpoint) endpoint { return endpoint{e.Addr, e.Port} }

func (e endpoint) addrPort() netip.AddrPort {
	if e == (endpoint{}) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(e.addr.Netip(), e.port)
}

func (e endpoint) String() string { return e.addrPort().String() }

// ServiceText is the service with its name, if that is known: "api.example.com (203.0.113.7:443)"; an address alone where the
// ports are many, and "" where the services are.
func (f *Finding) ServiceText() string {
	if !f.Service.IsValid() {
		return ""
	}
	text := f.Service.String()
	if f.Service.Port() == 0 {
		text = f.Service.Addr().String()
	}
	return Named(f.ServiceName, text)
}

// Named is an address and what it is called: "api.example.com (203.0.113.7:443)"; the address alone if the name is "".
func Named(name, address string) string {
	if name == "" {
		return address
	}
	return name + " (" + address + ")"
}

// A ServerName returns what a client calls a server, "" if nobody knows. The zero Addr is any client, port 0 any port of that
// end. It may be called concurrently.
type ServerName func(client tcp.Addr, clientPort uint16, server tcp.Addr, port uint16) string

// NameServices fills in ServiceName in findings, which are those of a or belong to them: the name that the client at fault
// uses, or else that of the oldest connection.
func (a *Analysis) NameServices(findings []Finding, name ServerName) {
	var c tracker.Connection
	for i := range findings {
		f := &findings[i]
		if !f.Service.IsValid() {
			continue
		}
		var client endpoint
		if f.Example != 0 && a.Connection(f.Example, &c) {
			client = endpointOf(&c.Ends[tracker.Client])
		} else if f.Culprits == 1 && f.Culprit.Role == tracker.Client {
			client.addr = f.Culprit.Addr
		}
		if f.Count > 1 {
			client.port = 0
		}
		f.ServiceName = name(client.addr, client.port, tcp.AddrFromNetip(f.Service.Addr()), f.Service.Port())
	}
}
