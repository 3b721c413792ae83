// Package report presents findings and connections to people and to programs.
package report

import (
	"iter"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Source is one file or interface that packets came from.
type Source struct {
	Name      string
	Format    string // "pcap", "pcapng", "live"
	LinkTypes []string
	Packets   uint64
	Truncated bool
	Detail    string // how it was cut, in words
}

// Count is a number of packets and what they have in common.
type Count struct {
	Reason string
	N      uint64
}

// Capture describes what was read and how good it is.
type Capture struct {
	Sources                         []Source
	Filter                          string
	First, Last                     int64 // ns since 1970, UTC; 0 is unknown. Last is the time that ages are measured at
	Packets, Segments, Duplicates   uint64
	Skipped                         []Count // by reason, in alphabetical order
	DroppedKernel, DroppedInterface uint64
	MissedBytes                     uint64 // octets that were acknowledged and that the capture does not hold
	Evicted                         tracker.Evictions
	Live                            bool
	Later                           []string // summaries of findings that rest on the silence after Last; tables show them
}

// Rows are connections, with the IDs of the findings about each. The Connection is valid until the next one.
type Rows = iter.Seq2[*tracker.Connection, []int]

// Report is everything there is to say about a capture.
type Report struct {
	Capture Capture
	Counts  diagnosis.Counts
	// Rows yields the connections in the order of their IDs: of all, numbered from 0, those from one number up to another. It
	// may be called concurrently.
	Rows func(from, to int) Rows
	// Notable yields the connections that a table lists that is not asked for all: by their standings.
	Notable  Rows
	Findings []diagnosis.Finding
	Quality  diagnosis.Quality
	// Threshold returns what it takes to be a finding of a kind; nil leaves it out.
	Threshold func(diagnosis.Kind) diagnosis.Threshold
	Encap     func(id uint32) tcp.Encapsulation // nil when no connection is encapsulated
	// Socket returns what this host's kernel says of an end that is its own; nil if it was not asked.
	Socket func(c *tracker.Connection, role tracker.Role) (diagnosis.Socket, bool)
	// Name names servers; nil leaves names out. Tables show them beside the addresses where there is room.
	Name diagnosis.ServerName
	// FromKernel are findings that rest on what the kernel says, not on packets.
	FromKernel []diagnosis.Finding
}

// ServerName returns what the client of c calls its server; "" if nobody knows.
func (r *Report) ServerName(c *tracker.Connection) string {
	if r.Name == nil {
		return ""
	}
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	return r.Name(client.Addr, client.Port, server.Addr, server.Port)
}

func (r *Report) encapsulation(id uint32) tcp.Encapsulation {
	if id == 0 || r.Encap == nil {
		return tcp.Encapsulation{}
	}
	return r.Encap(id)
}

// severities counts findings.
func severities(findings []diagnosis.Finding) (counts [diagnosis.Critical + 1]int) {
	for i := range findings {
		counts[min(findings[i].Severity, diagnosis.Critical)]++
	}
	return counts
}
