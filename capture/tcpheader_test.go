package capture

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want tcp.Options
	}{
		{"none", nil, tcp.Options{}},
		{"of a SYN as Linux sends it", join("\x02\x04\x05\xb4", "\x04\x02", "\x08\x0a", uint32(7), uint32(0), "\x01\x03\x03\x07"),
			tcp.Options{MSS: 1460, WindowScale: 7, TSVal: 7, Has: tcp.HasMSS | tcp.HasSACKPermitted | tcp.HasTimestamps | tcp.HasWindowScale}},
		{"timestamps alone, padded before", join("\x01\x01\x08\x0a", uint32(1), uint32(2)),
			tcp.Options{TSVal: 1, TSEcr: 2, Has: tcp.HasTimestamps}},
		{"timestamps alone, padded behind", join("\x08\x0a", uint32(1), uint32(2), "\x01\x01"),
			tcp.Options{TSVal: 1, TSEcr: 2, Has: tcp.HasTimestamps}},
		{"two SACK blocks", join("\x01\x01\x05\x12", uint32(1), uint32(2), uint32(3), uint32(4)),
			tcp.Options{SACKs: 2, SACK: [4]tcp.SeqRange{{Left: 1, Right: 2}, {Left: 3, Right: 4}}}},
		{"a window scale above 14 counts as 14, RFC 7323 2.3", join("\x03\x03\xff\x00"),
			tcp.Options{WindowScale: 14, Has: tcp.HasWindowScale}},
		{"Fast Open cookie", join("\x22\x0a", "12345678", "\x01\x01"), tcp.Options{Has: tcp.HasFastOpen}},
		{"experimental Fast Open", join("\xfe\x04\xf9\x89"), tcp.Options{Has: tcp.HasFastOpen}},
		{"another experiment", join("\xfe\x04\x12\x34"), tcp.Options{}},
		{"nothing is read behind the end of the list", join("\x00\x02\x04\x05"), tcp.Options{}},
		{"unknown kinds are passed over", join("\x1e\x04\x00\x00", "\x04\x02\x01\x01"), tcp.Options{Has: tcp.HasSACKPermitted}},
		{"length 0 ends the list", join("\x04\x02", "\x08\x00", uint32(1)), tcp.Options{Has: tcp.HasSACKPermitted | tcp.HasMalformedOption}},
		{"length beyond the header ends the list", join("\x04\x02", "\x02\x09"), tcp.Options{Has: tcp.HasSACKPermitted | tcp.HasMalformedOption}},
		{"no length", join("\x01\x01\x01\x02"), tcp.Options{Has: tcp.HasMalformedOption}},
		{"a length that does not fit the kind costs that option only", join("\x02\x03\x05", "\x04\x02", "\x05\x04\x00\x00", "\x01\x01\x01"),
			tcp.Options{Has: tcp.HasSACKPermitted | tcp.HasMalformedOption}},
		{"the last of two counts", join("\x05\x12", uint32(1), uint32(2), uint32(3), uint32(4), "\x05\x0a", uint32(5), uint32(6)),
			tcp.Options{SACKs: 1, SACK: [4]tcp.SeqRange{{Left: 5, Right: 6}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got tcp.Options
			decodeOptions(&got, c.b, false)
			diff(t, "options", c.want, got)
		})
	}
}

func TestOptionsCutByTheSnapLengthKeepWhatIsThere(t *testing.T) {
	header := tcpData()
	header.Options = []layers.TCPOption{
		{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}},
		{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)},
	}
	b := build(t, ip4(layers.IPProtocolTCP), header, data(100))
	want := segment4()
	want.Options = tcp.Options{MSS: 1460, Has: tcp.HasMSS | tcp.HasMalformedOption}
	got, _, r := decodeOne(linkRaw, b[:20+20+6], len(b))
	diff(t, "reason", decoded, r)
	diff(t, "segment", want, got)
}

func TestHeaderCutBehindTheFlagsIsEnough(t *testing.T) {
	b, want := packet4(t), segment4()
	got, _, r := decodeOne(linkRaw, b[:20+16], len(b))
	diff(t, "reason", decoded, r)
	diff(t, "segment", want, got)
	got, _, r = decodeOne(linkRaw, b[:20+14], len(b))
	want.Window = tcp.WindowUnknown
	diff(t, "reason without window", decoded, r)
	diff(t, "segment without window", want, got)
	_, _, r = decodeOne(linkRaw, b[:20+13], len(b))
	diff(t, "reason one octet earlier", TruncatedHeader, r)
}

func TestDataOffsetMustBePossible(t *testing.T) {
	for offset, want := range map[byte]Reason{0: Malformed, 4: Malformed, 5: decoded, 15: decoded} {
		b := packet4(t)
		b[20+12] = offset << 4
		_, _, r := decodeOne(linkRaw, b, len(b))
		diff(t, "reason", want, r)
	}
	b := build(t, ip4(layers.IPProtocolTCP), tcpData())
	b[20+12] = 6 << 4
	_, _, r := decodeOne(linkRaw, b, len(b))
	diff(t, "reason of an offset behind the packet's end", Malformed, r)
}

func TestAllNineFlagsAreKept(t *testing.T) {
	b := packet4(t)
	b[20+12], b[20+13] = 5<<4|0xf, 0xff
	got, _, _ := decodeOne(linkRaw, b, len(b))
	diff(t, "flags", tcp.Flags(0x1ff), got.Flags)
}

func TestBadChecksumsDoNotMatter(t *testing.T) {
	b := build(t, ip4(layers.IPProtocolTCP), tcpData(), gopacket.Payload("x"))
	b[10], b[11], b[36], b[37] = 1, 2, 3, 4
	_, _, r := decodeOne(linkRaw, b, len(b))
	diff(t, "reason", decoded, r)
}
