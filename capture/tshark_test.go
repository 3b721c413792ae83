package capture

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"tcpleak/tcp"
)

// The packets of the other tests were laid out by the same hand as the decoder: tshark says whether they are real.
func TestTsharkSeesTheSameSegments(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("install tshark: sudo apt-get install tshark")
	}
	le := binary.LittleEndian
	interfaces, packets := ngSection(le), []byte(nil)
	var names []string
	add := func(name string, link linkType, b []byte) {
		interfaces = join(interfaces, ngInterface(le, link, 0))
		packets = join(packets, ngPacket(le, rec{on: len(names), time: 1700000000e6 + int64(len(names)), data: b}))
		names = append(names, name)
	}
	for _, c := range linkTypeHeaders(t) {
		if c.name == "raw 12" || c.name == "raw 14" {
			continue // not numbers for files, though found in some
		}
		b, _ := c.packet(t)
		add(c.name, c.link, b)
	}
	for _, c := range tunnelCases(t) {
		add(c.name, linkEthernet, c.b)
	}
	path := write(t, "x.pcapng", join(interfaces, packets))
	segments, _ := readAll(t, open(t, path))

	out, err := exec.Command("tshark", "-r", path, "-Tfields", "-Eseparator= ", "-Eoccurrence=l", "-oip.defragment:FALSE",
		"-eframe.time_epoch", "-etcp.srcport", "-etcp.dstport", "-etcp.seq_raw", "-etcp.ack_raw", "-etcp.len", "-etcp.flags", "-etcp.window_size_value",
		"-dudp.port==8472,vxlan").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != len(names) || len(segments) != len(names) {
		t.Fatalf("%d packets, %d segments, %d lines of tshark", len(names), len(segments), len(lines))
	}
	for i, s := range segments {
		switch names[i] {
		case "MPLS, pseudowire with control word", // tshark looks for one only when told the label
			"ERSPAN III without Ethernet": // which it takes for Ethernet
			continue
		}
		diff(t, names[i], lines[i], tsharkLine(s))
	}
}

func tsharkLine(s tcp.Segment) string {
	return fmt.Sprintf("%d.%09d %d %d %d %d %d 0x%04x %d", s.Time/1e9, s.Time%1e9, s.SrcPort, s.DstPort, s.Seq, s.Ack, s.Len, uint16(s.Flags), s.Window)
}
