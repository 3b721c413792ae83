package report

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"

	"tcpleak/tcp"
)

// CommunityID returns the Community ID (version 1, seed 0) of a TCP connection: a hash of its addresses and ports that
// other tools compute alike, whichever end comes first (https://github.com/corelight/community-id-spec).
func CommunityID(a tcp.Addr, aPort uint16, b tcp.Addr, bPort uint16) string {
	return string(appendCommunityID(nil, a, aPort, b, bPort))
}

func appendCommunityID(dst []byte, a tcp.Addr, aPort uint16, b tcp.Addr, bPort uint16) []byte {
	if b.Less(a) || a == b && bPort < aPort {
		a, aPort, b, bPort = b, bPort, a, aPort
	}
	var tuple [40]byte
	hashed := append(tuple[:0], 0, 0) // seed
	hashed = appendAddr(hashed, a)
	hashed = appendAddr(hashed, b)
	hashed = append(hashed, 6, 0) // TCP, padding
	hashed = binary.BigEndian.AppendUint16(hashed, aPort)
	hashed = binary.BigEndian.AppendUint16(hashed, bPort)
	sum := sha1.Sum(hashed)
	return base64.StdEncoding.AppendEncode(append(dst, "1:"...), sum[:])
}

func appendAddr(dst []byte, a tcp.Addr) []byte {
	if a.Is4() {
		return binary.BigEndian.AppendUint32(dst, uint32(a.Lo))
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, a.Hi), a.Lo)
}
