package agreement

import (
	"io"
	"path/filepath"
	"testing"

	"tcpleak/capture"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// end is how an endpoint stands in the end, as far as a test of lean captures asks.
type end struct {
	state     tcp.State
	certainty tracker.Certainty
}

// ends returns the ends of the connections of a capture from which payload is left out where lean says so, by the
// connections' first packets.
func ends(segments []tcp.Segment, last int64, lean func(i int) bool) map[uint64][2]end {
	table := tracker.New(tracker.Config{})
	for i := range segments {
		s := segments[i]
		if payload := s.Len > 0 && !s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST); !payload || !lean(i) {
			table.Add(segments[i : i+1])
		}
	}
	all := make(map[uint64][2]end)
	for c := range table.Connections(last) {
		// Where the opening was not captured, another segment may be the first: ports and addresses would not tell one
		// incarnation from the next.
		all[c.ID] = [2]end{{c.Ends[0].State, c.Ends[0].Certainty}, {c.Ends[1].State, c.Ends[1].Certainty}}
	}
	return all
}

// TestALeanCaptureIsNeverCertainAndWrong leaves payload out of the recorded scenarios: of all of each, and from some moment on
// or up to one, as an agent does that goes lean by itself.
func TestALeanCaptureIsNeverCertainAndWrong(t *testing.T) {
	files, err := filepath.Glob("../../testdata/kernel/*.pcap")
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), err)
	}
	var all, same, confirmed, still int
	for _, path := range files {
		s, err := capture.OpenFiles([]string{path}, capture.Config{Encaps: new(tcp.EncapTable)})
		if err != nil {
			t.Fatal(err)
		}
		var segments []tcp.Segment
		batch := make([]tcp.Segment, 256)
		for {
			n, err := s.Read(batch)
			segments = append(segments, batch[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(path, err)
			}
		}
		last := s.Last()
		s.Close()
		full := ends(segments, last, func(int) bool { return false })
		compare := func(how string, count bool, lean func(int) bool) {
			got := ends(segments, last, lean)
			if len(got) != len(full) {
				return // one that began before the capture, with payload: it has no counterpart
			}
			for id, want := range full {
				for role := range want {
					x, w := got[id][role], want[role]
					if x.certainty == tracker.Confirmed && x.state != w.state {
						t.Errorf("%s, connection %d, end %d: %v is confirmed %s, and %v in full", path, id, role, x.state, how, w.state)
					}
					if !count {
						continue
					}
					all++
					if x.state == w.state {
						same++
					}
					if w.certainty == tracker.Confirmed {
						confirmed++
						if x.certainty == tracker.Confirmed {
							still++
						}
					}
				}
			}
		}
		compare("lean", true, func(int) bool { return true })
		for part := 1; part < 8; part++ {
			at := len(segments) * part / 8
			compare("lean from then on", false, func(i int) bool { return i >= at })
			compare("lean up to then", false, func(i int) bool { return i < at })
		}
	}
	t.Logf("lean, %d of %d ends are in the same state; of %d that are confirmed, %d are so still", same, all, confirmed, still)
	if same < all*99/100 || still < confirmed/3 {
		t.Error("a lean capture tells less than it should")
	}
}
