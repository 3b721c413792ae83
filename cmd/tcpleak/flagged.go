package main

import (
	"context"
	"errors"
	"fmt"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// writeFlagged writes the packets of the connections that have findings to a file. It reads the capture twice more: first for
// the numbers of those packets, then for the packets.
func (j *job) writeFlagged(ctx context.Context, source capture.Source, analysis *diagnosis.Analysis) error {
	flagged := newFlagged(analysis)
	again, err := capture.Reopen(source, j.encaps)
	if err != nil {
		return err
	}
	defer again.Close()
	defer closeAfter(ctx, again)()
	table := tracker.New(j.limits)
	if err := eachBatch(again, func(batch []tcp.Segment) { flagged.add(table, batch) }); err != nil {
		return err
	}
	if ctx.Err() == nil {
		var packets uint64
		packets, err = capture.SavePackets(ctx, again, flagged.packets.has, j.flagged)
		if err == nil {
			fmt.Fprintf(j.stderr, "tcpleak: %s: %d packets of the connections with findings, %d of them\n", oneLine(j.flagged), packets, flagged.n)
			return nil
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: " + j.flagged + " was not written")
	}
	return err
}

// flagged picks the packets of connections with findings.
type flagged struct {
	ids     bitmap // of the connections
	n       int
	maybe   bitmap // of hashes of their addresses and ports: the connection of most segments need not be looked for
	packets bitmap
}

// hashBits leave a million connections at one collision in 16.
const hashBits = 24

func newFlagged(a *diagnosis.Analysis) *flagged {
	f := &flagged{}
	for c, findings := range a.Connections(0, a.Counts.Connections) {
		if len(findings) == 0 {
			continue
		}
		f.n++
		f.ids.add(c.ID)
		client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
		f.maybe.add(hashOf(client.Addr, server.Addr, client.Port, server.Port))
	}
	return f
}

// hashOf is the same for both directions.
func hashOf(a, b tcp.Addr, aPort, bPort uint16) uint64 {
	x := (a.Hi^b.Hi)*0x9e3779b97f4a7c15 ^ (a.Lo ^ b.Lo) ^ uint64(aPort^bPort)<<32 ^ uint64(aPort+bPort)<<48
	return x * 0x9e3779b97f4a7c15 >> (64 - hashBits)
}

func (f *flagged) add(table *tracker.Table, batch []tcp.Segment) {
	from := 0
	for i := range batch {
		s := &batch[i]
		if !f.maybe.has(hashOf(s.Src, s.Dst, s.SrcPort, s.DstPort)) {
			continue
		}
		table.Add(batch[from:i])
		from = i + 1
		if taken := table.Take(s); f.ids.has(taken.Ref.ID()) {
			f.packets.add(s.Packet)
		}
	}
	table.Add(batch[from:])
}

// bitmap is a set of small numbers.
type bitmap []uint64

func (b *bitmap) add(n uint64) {
	for n/64 >= uint64(len(*b)) {
		*b = append(*b, make([]uint64, max(1024, len(*b)))...)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n uint64) bool { return n/64 < uint64(len(b)) && b[n/64]&(1<<(n%64)) != 0 }
