package names

import "bytes"

// requestHost returns the Host, without the port, of the HTTP/1 request (RFC 9112 3.2) that b, which may be cut off, begins
// with; nil if there is none, or not all of it. proxy says that the request is one to a proxy: its Host is another server's
// name.
func requestHost(b []byte) (host []byte, proxy bool) {
	line, rest, whole := bytes.Cut(b, []byte("\n"))
	method, line, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(line, []byte(" "))
	if !whole || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return nil, false
	}
	if bytes.Equal(method, []byte("CONNECT")) || len(target) > 0 && target[0] != '/' && target[0] != '*' {
		return nil, true
	}
	for {
		line, rest, whole = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if !whole || len(line) == 0 {
			return nil, false
		}
		field, value, ok := bytes.Cut(line, []byte(":"))
		if ok && len(field) == len("host") && bytes.EqualFold(field, []byte("host")) {
			host, _, _ = bytes.Cut(bytes.Trim(value, " \t"), []byte(":"))
			return host, false
		}
	}
}
