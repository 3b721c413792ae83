package agreement

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tcpleak/internal/kernel"
)

// connectionsVariable sets how many connections the kernel is asked about.
const connectionsVariable = "TCPLEAK_KERNEL_CONNECTIONS"

const eachRecipe = 200 // connections

// TestRandomConnectionsAreWhatTheKernelSays lets the ends of some hundred connections act at random, while up to a fifth of
// the packets into each host are lost, and holds every end against ss. What a seed does depends on the timing of the
// machine too, so that a failure keeps its capture. Few connections are played twice if an end is wrong, and must be wrong
// twice: one in some thousand is, on a busy machine, for reasons of the harness. make soak-kernel plays many, and forgives
// nothing.
func TestRandomConnectionsAreWhatTheKernelSays(t *testing.T) {
	if err := kernel.Available(); err != nil {
		t.Skip(err)
	}
	total, plays := eachRecipe, 2
	if text := os.Getenv(connectionsVariable); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", connectionsVariable, err)
		}
		plays = 1
	}
	for i := range (total + eachRecipe - 1) / eachRecipe {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			var wrong []string
			for range plays {
				if wrong = playRandom(t, rand.Uint64()); len(wrong) == 0 {
					return
				}
			}
			for _, what := range wrong {
				t.Error(what)
			}
		})
	}
}

// playRandom plays the recipe of a seed and returns which ends are not what the kernel says.
func playRandom(t *testing.T, seed uint64) []string {
	t.Helper()
	m := kernel.Mix{Seed: seed, Connections: eachRecipe, Loss: int(seed % 21), V6: seed>>8%4 == 0}
	switch seed >> 16 % 3 {
	case 0:
		m.Deaf = eachRecipe / 4
	case 1:
		m.SpareResets = true
	}
	dir := t.TempDir()
	truth, err := record(dir, m)
	if err != nil {
		t.Skip("this machine is too busy to find a quiet moment in which ss and the capture agree: ", err)
	}
	c := compare(t, truth, readPackets(t, filepath.Join(dir, "random.pcap")), writePcap)
	t.Logf("%+v: %d endpoints agree, %d are undecidable, %d are wrong", m, c.agreed, c.undecidable, len(c.wrong))
	if len(c.wrong) > 0 {
		kept := filepath.Join(os.TempDir(), fmt.Sprintf("tcpleak-random-%d", seed))
		t.Logf("%s; kept in %s: %v", strings.Join(c.wrong, "\n"), kept, os.CopyFS(kept, os.DirFS(dir)))
	}
	return c.wrong
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
