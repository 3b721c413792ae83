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
	Evicted                         uint64 // connections forgotten to stay within the limit of memory
	Live                            bool
	Later                           []string // summaries of findings that rest on the silence after Last; tables show them
}

// Row is one connection with the numbers of its findings. It is valid only until the iteration goes on.
type Row struct {
	Connection *tracker.Connection
	Findings   []int
}

// Report is everything there is to say about a capture.
type Report struct {
	Capture  Capture
	Rows     iter.Seq[Row] // in the order of the connections' numbers
	Findings []diagnosis.Finding
	Quality  diagnosis.Quality
	// Threshold returns what it takes to be a finding of a kind; nil leaves it out.
	Threshold func(diagnosis.Kind) diagnosis.Threshold
	Encap     func(id uint32) tcp.Encapsulation // nil when no connection is encapsulated
}

func (r *Report) encapsulation(id uint32) tcp.Encapsulation {
	if id == 0 || r.Encap == nil {
		return tcp.Encapsulation{}
	}
	return r.Encap(id)
}

// EndedCleanly reports whether a connection ended as TCP means it to: by a FIN from each end, each acknowledged.
func EndedCleanly(c *tracker.Connection) bool { return c.EndedBy == tracker.EndedByFIN }

// tally counts connections and their ends.
type tally struct {
	connections uint64
	oneSided    uint64
	states      [tcp.NumStates][2]uint64 // by role
}

func (t *tally) add(c *tracker.Connection) {
	t.connections++
	if c.Visibility != tracker.BothSides {
		t.oneSided++
	}
	for role := range c.Ends {
		t.states[min(int(c.Ends[role].State), tcp.NumStates-1)][role]++
	}
}

// severities counts findings.
func severities(findings []diagnosis.Finding) (counts [diagnosis.Critical + 1]int) {
	for i := range findings {
		counts[min(findings[i].Severity, diagnosis.Critical)]++
	}
	return counts
}
