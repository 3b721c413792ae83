package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// isPcap reports whether h begins with a pcap magic number, in either byte order, including those that are refused later.
func isPcap(h []byte) bool {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(h) {
		case magicMicros, magicNanos, magicKuznetzov, magicIXIAMicros, magicIXIANanos:
			return true
		}
	}
	return false
}

// strangers are the beginnings of files that people take for captures, and what to do about them.
var strangers = []struct{ magic, what string }{
	{"\xfd7zXZ\x00", "xz data: decompress it first, xz -dc FILE | tcpleak -r -"},
	{"BZh", "bzip2 data: decompress it first, bzip2 -dc FILE | tcpleak -r -"},
	{"\x04\x22\x4d\x18", "lz4 data: decompress it first, lz4 -dc FILE | tcpleak -r -"},
	{"PK\x03\x04", "a zip archive: unpack it first, unzip -p FILE | tcpleak -r -"},
	{"\x1f\x8b", "gzip data within compressed data: decompress it once more first"},
	{"\x28\xb5\x2f\xfd", "zstd data within compressed data: decompress it once more first"},
	{"snoop\x00\x00\x00", "a snoop capture: convert it with editcap -F pcap FILE OUT"},
	{"RTSS", "a Network Monitor capture: convert it with editcap -F pcap FILE OUT"},
	{"GMBU", "a Network Monitor capture: convert it with editcap -F pcap FILE OUT"},
	{"\x7fELF", "a program"},
}

// notCapture says what the file looks like instead.
func notCapture(w *window) error {
	h, err := w.peek(512)
	if err == io.ErrUnexpectedEOF {
		return &truncation{"the compressed data", 0}
	}
	if err != nil && !ended(err) {
		return err
	}
	const try = "tcpleak reads pcap and pcapng, plain or compressed with gzip or zstd"
	if len(h) == 0 {
		return errors.New("empty, not even a file header at offset 0: was the capture stopped before its first flush?")
	}
	for _, s := range strangers {
		if bytes.HasPrefix(h, []byte(s.magic)) {
			return fmt.Errorf("not a capture file, but at offset 0 %s; %s", s.what, try)
		}
	}
	if len(h) > 257+5 && string(h[257:257+5]) == "ustar" {
		return fmt.Errorf("not a capture file, but a tar archive: unpack it first, tar -xOf FILE | tcpleak -r -; %s", try)
	}
	if looksLikeText(h) {
		return fmt.Errorf("not a capture file, but text: if it is tcpdump's output, capture again with tcpdump -w; %s", try)
	}
	return fmt.Errorf("not a capture file: it begins with % x at offset 0; %s", h[:min(len(h), 4)], try)
}

// looksLikeText reports whether h holds no control characters but white space; a character may be cut at its end.
func looksLikeText(h []byte) bool {
	for len(h) > 0 {
		r, size := utf8.DecodeRune(h)
		if r == utf8.RuneError && size == 1 && len(h) >= utf8.UTFMax || r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		h = h[size:]
	}
	return true
}
