package agreement

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"tcpleak/internal/kernel"
)

// connectionsVariable sets how many connections the kernel is asked about.
const connectionsVariable = "TCPLEAK_KERNEL_CONNECTIONS"

// TestRandomConnectionsAreWhatTheKernelSays lets the ends of some hundred connections act at random, while up to a fifth of
// the packets into each host are lost, and holds every end against ss. What a seed does depends on the timing of the
// machine too, so that a failure keeps its capture.
func TestRandomConnectionsAreWhatTheKernelSays(t *testing.T) {
	if err := kernel.Available(); err != nil {
		t.Skip(err)
	}
	const each = 200
	text := os.Getenv(connectionsVariable)
	if text == "" {
		t.Skip("it takes minutes, and what it finds is not the same every time: run make soak-kernel")
	}
	total, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", connectionsVariable, err)
	}
	for i := range (total + each - 1) / each {
		seed := rand.Uint64()
		m := kernel.Mix{Seed: seed, Connections: each, Loss: int(seed % 21), V6: seed>>8%4 == 0}
		switch seed >> 16 % 3 {
		case 0:
			m.Deaf = each / 4
		case 1:
			m.SpareResets = true
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			truth, err := record(dir, m)
			if err != nil {
				t.Skip("this machine is too busy to find a quiet moment in which ss and the capture agree: ", err)
			}
			packets := readPackets(t, filepath.Join(dir, "random.pcap"))
			agreed, undecidable := holdAgainst(t, truth, packets, writePcap)
			t.Logf("%+v: %d endpoints agree, %d are undecidable", m, agreed, undecidable)
			if t.Failed() {
				kept := filepath.Join(os.TempDir(), fmt.Sprintf("tcpleak-random-%d", seed))
				t.Logf("kept in %s: %v", kept, os.CopyFS(kept, os.DirFS(dir)))
			}
		})
	}
}

// record plays a recipe, a second time if the first finds no quiet moment.
func record(dir string, m kernel.Mix) (truth *kernel.Truth, err error) {
	for range 2 {
		if truth, err = kernel.Record(context.Background(), dir, m.Scenario("random", ""), "client"); err == nil {
			return truth, nil
		}
	}
	return nil, err
}
