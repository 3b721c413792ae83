package capture

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpleak/tcp"
)

// plodder is a reader that never looks ahead, so that every packet goes the way of next.
type plodder struct{ packetReader }

func (plodder) ahead([]record, int64) (int, *tap, []byte) { return 0, nil, nil }

// told is all that a source says about a file.
type told struct {
	segments []tcp.Segment
	stats    Stats
	err      string
}

// tell reads what r holds; at most so many batches, as a few compressed octets may hold gigabytes.
func tell(r io.Reader, batches int, wrap func(packetReader) packetReader) (all told) {
	s := &fileSource{decoder: decoder{encaps: new(tcp.EncapTable)}, filters: make(map[linkType]*filter)}
	s.stats.Sources = make([]SourceStats, 1)
	f := &file{name: "x"}
	defer f.close()
	err := s.start(f, r)
	if err == nil {
		f.packets = wrap(f.packets)
		if err = f.packets.next(&f.head); err != nil {
			err = s.finish(f, err)
		} else {
			s.active = []*file{f}
		}
	}
	batch := make([]tcp.Segment, 300)
	for n := 0; err == nil && batches > 0; batches-- {
		n, err = s.Read(batch)
		all.segments = append(all.segments, batch[:n]...)
	}
	all.stats = s.Stats()
	if err != nil {
		all.err = err.Error()
	}
	return all
}

// compareWays holds looking ahead against going packet by packet.
func compareWays(t *testing.T, b []byte, batches int) {
	t.Helper()
	fast := tell(bytes.NewReader(b), batches, func(r packetReader) packetReader { return r })
	slow := tell(bytes.NewReader(b), batches, func(r packetReader) packetReader { return plodder{r} })
	if len(fast.segments) == len(slow.segments) && fast.err == slow.err && fmt.Sprint(fast.stats) == fmt.Sprint(slow.stats) {
		same := true
		for i := range fast.segments {
			same = same && fast.segments[i] == slow.segments[i]
		}
		if same {
			return
		}
	}
	diff(t, "error", slow.err, fast.err)
	diff(t, "statistics", slow.stats, fast.stats)
	diff(t, "segments, one by one and ahead", slow.segments, fast.segments)
}

// captures are files of every kind that the readers know, and the captures in testdata.
func captures(t testing.TB) map[string][]byte {
	t.Helper()
	le, be := binary.LittleEndian, binary.BigEndian
	frame := frame4(t)
	offloaded := bytes.Clone(frame) // its length is that of the frame
	offloaded[16], offloaded[17] = 0, 0
	mixed := []rec{{data: frame}, {data: frame[:60], wire: 1500}, {time: 2e9, data: frame[:20]}, {time: 1e9, data: nil}, {data: data(1400)},
		{data: offloaded[:60], wire: 1500}}
	all := map[string][]byte{
		"big-endian":            pcapFile(be, 1, 65535, 1, mixed...),
		"check sequences":       pcapFile(le, 1000, 65535, 1|1<<26|2<<28, mixed...),
		"longer than believed":  ethernetFile(rec{data: frame}, rec{data: data(maxPacket + 5)}, rec{data: frame}),
		"long, and that is all": pcapFile(le, 1000, 1<<20, 1, rec{data: frame}, rec{data: data(maxPacket + 5)}, rec{data: frame}),
		"unsupported":           pcapFile(le, 1000, 65535, 147, mixed...),
	}
	for _, order := range []byteOrder{le, be} {
		b := join(ngSection(order), ngInterface(order, linkEthernet, 0, ngOption(order, 9, []byte{0x8a}), ngOption(order, 13, []byte{4})),
			ngInterface(order, linkRaw, 64), ngInterface(order, 147, 0), ngInterface(order, linkRaw, 0))
		for i := range 200 {
			on := i % 4 * (i / 20 % 2)
			r := rec{time: int64(i) * 1e6, data: frame, on: on, wire: i % 7 * 100}
			if i%5 == 0 {
				r.data = offloaded
			}
			if on != 0 {
				r.data = r.data[14:]
			}
			b = append(b, ngPacket(order, r)...)
			switch i % 50 {
			case 10:
				b = append(b, ngBlock(order, blockSimplePacket, append(order.AppendUint32(nil, 60), frame[:60]...))...)
			case 20:
				b = append(b, ngBlock(order, 0xbad, data(i))...)
			case 30:
				b = join(b, ngSection(order), ngInterface(order, linkEthernet, 96), ngInterface(order, linkRaw, 0), ngInterface(order, 1, 0), ngInterface(order, 101, 0))
			}
		}
		all["pcapng "+order.String()] = b
		odd := ngPacket(order, rec{data: frame})
		odd = append(order.AppendUint32(odd[:len(odd)-4:len(odd)-4], uint32(len(odd)+1)), 0)
		copy(odd[len(odd)-5:], join(0, odd[len(odd)-5:len(odd)-1]))
		order.PutUint32(odd[4:], uint32(len(odd)))
		all["pcapng with a length not of whole words "+order.String()] = join(b, odd, ngPacket(order, rec{data: frame}))
	}
	for _, c := range linkTypeHeaders(t) {
		b, _ := c.packet(t)
		all[c.name] = pcapFile(le, 1000, 65535, uint32(c.link), rec{data: b}, rec{data: b[:len(b)-1]}, rec{data: b})
	}
	for _, c := range tunnelCases(t) {
		all["tunnel "+c.name] = ethernetFile(rec{data: c.b}, rec{data: frame}, rec{data: c.b})
	}
	if err := filepath.WalkDir("../testdata", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(path), ".pcap") {
			all[path], err = os.ReadFile(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLookingAheadChangesNothing(t *testing.T) {
	for name, b := range captures(t) {
		t.Run(name, func(t *testing.T) {
			compareWays(t, b, 10000)
			r := rand.New(rand.NewPCG(1, uint64(len(b))))
			for range 1 + 100_000/(len(b)+1000) {
				damaged := bytes.Clone(b)
				for n := 1 + r.IntN(3); n > 0 && len(damaged) > 0; n-- {
					at := r.IntN(len(damaged))
					switch r.IntN(4) {
					case 0:
						damaged[at] = byte(r.Uint32())
					case 1: // a length that is a little wrong
						damaged[at] += byte(r.IntN(9) - 4)
					case 2:
						damaged = append(damaged[:at:at], damaged[min(len(damaged), at+1+r.IntN(20)):]...)
					case 3:
						damaged = damaged[:at+1]
					}
				}
				compareWays(t, damaged, 10000)
			}
		})
	}
}

func TestLookingAheadRefusesWhatNextRefuses(t *testing.T) {
	le := binary.LittleEndian
	frame := frame4(t)
	recs := []rec{{data: frame}, {data: frame}, {data: frame}, {data: frame}, {data: frame}, {data: frame}}
	classic := ethernetFile(recs...)
	modern := join(ngSection(le), ngInterface(le, linkEthernet, 96))
	for _, r := range recs {
		modern = append(modern, ngPacket(le, r)...)
	}
	for _, b := range [][]byte{classic, modern} {
		each := len(ngPacket(le, recs[0]))
		if &b[0] == &classic[0] {
			each = pcapPacketHeaderLen + len(frame)
		}
		for at := len(b) - 3*each; at < len(b)-2*each; at += 2 {
			was := le.Uint32(b[at:])
			for _, v := range []uint32{0, was - 4, was - 1, was + 1, was + 2, was + 3, was + 4, was + 8, 1 << 16, maxPacket, maxPacket + 1, 1 << 31, 1<<32 - 1} {
				le.PutUint32(b[at:], v)
				compareWays(t, b, 10)
			}
			le.PutUint32(b[at:], was)
		}
	}
}

func TestLookingAheadRefusesPacketsThatAreTooLong(t *testing.T) {
	le := binary.LittleEndian
	tooLong := rec{data: append(frame4(t), data(maxPacket)...)[:maxPacket+1]}
	// One packet, at the end of a page, makes the buffer as large as it gets. Others follow until it ends in the middle of
	// one, so that the packet after that one lies whole in the buffer.
	for size := 700; size < 1000; size += 50 {
		small := rec{data: append(frame4(t), data(size)...)}
		for n := range 20 {
			recs := []rec{{data: data(3950)}, {data: data(maxPacket + 4000), on: 1}}
			for range 260_000/(len(small.data)+32) + n {
				recs = append(recs, small)
			}
			recs = append(recs, tooLong)
			b := join(ngSection(le), ngInterface(le, linkEthernet, 96), ngInterface(le, linkEthernet, 1<<20))
			for _, r := range recs {
				b = append(b, ngPacket(le, r)...)
			}
			compareWays(t, b, 10)
			recs[0].data, recs[1].data = data(4045), recs[1].data[:maxPacket]
			compareWays(t, ethernetFile(recs...), 10)
		}
	}
}

func TestFilesAreMergedByTheTimeOfTheirNextPackets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		var names []string
		var times [][]int64
		for i := range 1 + r.IntN(4) {
			var recs []rec
			var at []int64
			now := r.Int64N(3000)
			for range 1 + r.IntN(400) {
				now += r.Int64N(9) * r.Int64N(2) * r.Int64N(40)
				at = append(at, now+r.Int64N(50)/49*(r.Int64N(20)))
				recs = append(recs, rec{time: at[len(at)-1] * 1000, data: frame4(t)})
			}
			names = append(names, write(t, fmt.Sprint(i), ethernetFile(recs...)))
			times = append(times, at)
		}
		// OpenFiles goes by first packets, and by names where those are equal.
		slices.SortStableFunc(times, func(a, b []int64) int { return cmp.Compare(a[0], b[0]) })
		var want []int64
		for {
			next := -1
			for i := range times {
				if len(times[i]) > 0 && (next < 0 || times[i][0] < times[next][0]) {
					next = i
				}
			}
			if next < 0 {
				break
			}
			want, times[next] = append(want, times[next][0]*1000), times[next][1:]
		}
		segments, _ := readAll(t, open(t, names...))
		var got []int64
		for _, s := range segments {
			got = append(got, s.Time)
		}
		diff(t, "times", want, got)
	}
}
