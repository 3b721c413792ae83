package sockets

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/internal/kernel"
	"tcpleak/tcp"
)

const manySockets = 10_000

// crowd makes 5,000 connections of a host to itself, both ends held by this process.
func crowd(t testing.TB) *kernel.Pair {
	t.Helper()
	if err := kernel.Available(); err != nil {
		t.Skipf("%v, or run sudo make test-root", err)
	}
	allowDescriptors(t, manySockets+1000)
	pair, err := kernel.NewPair(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Close)
	loopback := &unix.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}}
	var fds []int
	t.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	open := func() (int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			fds = append(fds, fd)
		}
		return fd, err
	}
	pair.Server.Run(func() {
		listener, err := open()
		if err == nil {
			err = unix.Bind(listener, loopback)
		}
		if err == nil {
			err = unix.Listen(listener, 16)
		}
		for range manySockets / 2 {
			var c, d int
			if err == nil {
				c, err = open()
			}
			if err == nil {
				err = unix.Connect(c, loopback)
			}
			if err == nil {
				if d, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC); err == nil {
					fds = append(fds, d)
				}
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return pair
}

func allowDescriptors(t testing.TB, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	before := limit
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("%d descriptors are not allowed (%v): raise ulimit -n", n, err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
}

func samplerAt(t testing.TB, host *kernel.Host, cfg Config) *Sampler {
	t.Helper()
	var s *Sampler
	var err error
	host.Run(func() { s, err = New(cfg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// wholeProcessorTime is what all threads of this process have used, in the kernel too.
func wholeProcessorTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// A minute of a clock that the test winds, with 10,000 sockets: of states that are dumped rarely, and of those dumped often.
func TestSamplingKeepsItsShare(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10,000 sockets")
	}
	pair := crowd(t)
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"few half-closed", Config{}},
		{"all to be watched", Config{Often: DefaultOften | StatesOf(tcp.Established)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := samplerAt(t, pair.Server, tt.cfg)
			runtime.GC()
			const span = time.Minute
			now := time.Now()
			begin, end := wholeProcessorTime(), now.Add(span)
			samples, dumps, at, named := 0, 0, time.Time{}, time.Duration(0)
			for ; now.Before(end); now = now.Add(100 * time.Millisecond) {
				snap, err := s.Sample(now)
				if err != nil {
					t.Fatal(err)
				}
				samples++
				if asked := snap.Asked(tcp.CloseWait); !asked.Equal(at) {
					dumps, at = dumps+1, asked
				}
				if named == 0 {
					for sock := range snap.All() {
						if _, known := s.Processes(sock.Inode); known {
							named = now.Sub(end.Add(-span))
						}
						break
					}
				}
			}
			cost := wholeProcessorTime() - begin
			share := float64(cost) / float64(span)
			t.Logf("%d samples, %d of them dumps, took %v in a minute: %.2f %% of a core; a holder was known after %v", samples, dumps, cost, 100*share, named)
			if limit := time.Duration(DefaultShare*float64(span)) + processesSaved; cost > limit {
				t.Errorf("took %v in %v, want at most %v", cost, span, limit)
			}
			if dumps < 5 {
				t.Errorf("%d dumps in %v: that is not watching", dumps, span)
			}
		})
	}
}

// BenchmarkDump asks the kernel for 10,000 sockets, or some of them.
func BenchmarkDump(b *testing.B) {
	pair := crowd(b)
	for _, bb := range []struct {
		name   string
		states States
	}{
		{"often, none there", DefaultOften &^ StatesOf(tcp.Listen)},
		{"rarely, 10000 there", DefaultRarely},
		{"listen", StatesOf(tcp.Listen)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := samplerAt(b, pair.Server, Config{Often: bb.states, Rarely: StatesOf(tcp.Unknown), NoProcess: true})
			now := time.Now()
			begin := wholeProcessorTime()
			for b.Loop() {
				now = now.Add(time.Hour)
				if _, err := s.Sample(now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(wholeProcessorTime()-begin)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// BenchmarkHolders looks for the holders of 10,000 sockets in all processes.
func BenchmarkHolders(b *testing.B) {
	pair := crowd(b)
	s := samplerAt(b, pair.Server, Config{})
	snap, err := s.Sample(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	var inodes []uint32
	for sock := range snap.All() {
		inodes = append(inodes, sock.Inode)
	}
	var cost time.Duration
	for b.Loop() {
		p := newProcesses(ProgramOnly, 1)
		now := time.Now()
		for _, inode := range inodes {
			p.of(inode)
		}
		runtime.LockOSThread()
		begin := processorTime()
		for known := false; !known; now = now.Add(time.Second) {
			p.step(now)
			_, known = p.of(inodes[len(inodes)-1])
		}
		cost += processorTime() - begin
		runtime.UnlockOSThread()
		if p.search != nil {
			p.close()
		}
	}
	b.ReportMetric(float64(cost)/float64(b.N)/1e6, "cpu-ms/op")
	b.ReportMetric(float64(len(listPIDs())), "processes")
}

// BenchmarkAsk asks for one of 10,000 sockets.
func BenchmarkAsk(b *testing.B) {
	pair := crowd(b)
	s := samplerAt(b, pair.Server, Config{NoProcess: true})
	snap, err := s.Sample(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	for sock := range snap.All() {
		if sock.State == tcp.Established {
			for b.Loop() {
				if got, err := s.Ask(sock.Local, sock.Remote); err != nil || len(got) != 1 {
					b.Fatal(got, err)
				}
			}
			return
		}
	}
	b.Fatal(fmt.Errorf("no connection among %d sockets", manySockets))
}
