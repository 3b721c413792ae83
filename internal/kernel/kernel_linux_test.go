package kernel

import (
	"context"
	"path/filepath"
	"testing"

	"tcpleak/tcp"
)

// needNamespaces skips a test where it may not run, and says what would help.
func needNamespaces(t *testing.T) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
}

func TestPair(t *testing.T) {
	needNamespaces(t)
	pair, err := NewPair(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	s := &Scene{Pair: pair, service: 80}
	err = Try(func() {
		c, d := s.Open()
		talk(c, d)
		states := pair.States()
		if got := states[0]; len(got) != 1 || got[0] != (SocketState{tcp.Established, c.Local, c.Peer}) {
			t.Errorf("client: %v", got)
		}
		if got := states[1]; len(got) != 2 || got[1] != (SocketState{tcp.Established, d.Local, d.Peer}) {
			t.Errorf("server: %v", got)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A scenario that can be played can be played again: the shipped captures do not depend on the machine that made them.
func TestRecord(t *testing.T) {
	needNamespaces(t)
	for _, sc := range Scenarios() {
		switch sc.Name {
		case "close-wait-server", "refused", "simultaneous-close", "reset-in-window":
			t.Run(sc.Name, func(t *testing.T) {
				t.Parallel()
				var err error
				for range 3 { // a busy machine does not keep the timing of a scenario every time
					if _, err = Record(context.Background(), t.TempDir(), sc, "server"); err == nil {
						return
					}
				}
				t.Error(err)
			})
		}
	}
}

// Each scenario has its capture, made by the script that bears its name.
func TestScenariosAreRecorded(t *testing.T) {
	names := make(map[string]bool)
	for _, sc := range append(Mixed(), Scenarios()...) {
		if names[sc.Name] {
			t.Errorf("two scenarios are called %s", sc.Name)
		}
		names[sc.Name] = true
		truth, err := ReadTruth(filepath.Join("../../testdata/kernel", sc.Name+".json"))
		if err != nil {
			t.Error(err)
			continue
		}
		if truth.Description != sc.About {
			t.Errorf("%s: recorded as %q, now %q", sc.Name, truth.Description, sc.About)
		}
	}
	files, err := filepath.Glob("../../testdata/kernel/*.pcap")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(names) {
		t.Errorf("%d captures for %d scenarios", len(files), len(names))
	}
}
