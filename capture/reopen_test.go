package capture

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// TestWhatIsReopenedDeliversTheSame reads files twice side by side, although more is written to one in between.
func TestWhatIsReopenedDeliversTheSame(t *testing.T) {
	one := pcapFile(binary.LittleEndian, 1000, 65535, 1, rec{time: 1e9, data: tcpFrame(t)}, rec{time: 3e9, data: tcpFrame(t)})
	two := pcapFile(binary.LittleEndian, 1000, 65535, 1, rec{time: 2e9, data: tcpFrame(t)})
	names := []string{write(t, "one", one), write(t, "two", two)}
	first, err := OpenFiles(names, Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	grown, err := os.OpenFile(names[1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grown.Write(two[24:]); err != nil {
		t.Fatal(err)
	}
	grown.Close()
	again, err := Reopen(first, new(tcp.EncapTable))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := readAll(t, first)
	got, _ := readAll(t, again)
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 3 {
		t.Errorf("%d segments (-first +again):\n%s", len(got), diff)
	}
}

func tcpFrame(t *testing.T) []byte {
	return build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcpData(), data(3))
}
