package names

const (
	maxName  = 253 // octets of a host name as text, RFC 1035 2.3.4 less the length octets
	maxLabel = 63
)

// normal appends name to b in lower case and without the dot at its end; it appends nothing if that is no host name. A host
// name has letters, digits, hyphens and, as many are in use, underscores; other scripts as RFC 5890 encodes them (xn--).
// An address is none: a name does not end in a number.
func normal(b, name []byte) []byte {
	start := len(b)
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	if len(name) > maxName {
		return b
	}
	label, digits := 0, true
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
			digits = false
		case c >= 'a' && c <= 'z' || c == '-' || c == '_':
			digits = false
		case c >= '0' && c <= '9':
		case c == '.' && label > 0:
			b, label, digits = append(b, '.'), 0, true
			continue
		default:
			return b[:start]
		}
		if label++; label > maxLabel {
			return b[:start]
		}
		b = append(b, c)
	}
	if label == 0 || digits {
		return b[:start]
	}
	return b
}
