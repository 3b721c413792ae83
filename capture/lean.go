package capture

import "strings"

// notData lets pass all but TCP segments that surely carry payload and have none of SYN, FIN and RST. What it cannot judge
// passes: what has a VLAN's tag or a tunnel around it, extension headers, or a length of 0 for a segment that is too long to tell.
const notData = "not (tcp[13] & 7 = 0 and ip[2:2] > ((ip[0] & 0xf) << 2) + ((tcp[12] & 0xf0) >> 2))" +
	" and not (ip6[6] = 6 and ip6[53] & 7 = 0 and ip6[4:2] > (ip6[52] & 0xf0) >> 2)"

// Lean returns an expression that lets pass what the given one does, but for segments that carry payload and have none of SYN,
// FIN and RST: how much there was shows in the sequence numbers of those that pass.
func Lean(expression string) string {
	if strings.TrimSpace(expression) == "" {
		return notData
	}
	// First, as the word vlan moves the offsets of all that follows it.
	return notData + " and (" + expression + ")"
}
