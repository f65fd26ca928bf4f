package http1

import (
	"bytes"

	"verdictd/daemon/internal/names"
)

// maxMethod is how long a method may be. The longest registered one,
// UPDATEREDIRECTREF, has 17 letters.
const maxMethod = 32

// Request reads the head of the request that b, bytes of a TCP stream, begins with, and
// appends the host to dst. An IPv6 address comes without its brackets. It returns More
// where b is the beginning of a head, and decides only on a whole one, as a second Host
// field makes the first one void.
func Request(b, dst []byte) (name []byte, s names.State) {
	// Servers skip empty lines before a request (RFC 9112, 2.2).
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	request, b, whole := cutLine(b)
	method, rest, _ := bytes.Cut(request, []byte(" "))
	if len(method) > maxMethod || !isToken(method) || hasControl(rest) {
		return dst, names.None
	}
	if !whole {
		return dst, names.More
	}
	space := bytes.LastIndexByte(rest, ' ')
	if space < 0 || len(method) == 0 || !isVersion(rest[space+1:]) {
		return dst, names.None
	}
	target := bytes.Trim(rest[:space], " ")
	host, ok := authority(method, target)
	if !ok {
		return dst, names.None
	}
	if len(host) > 0 {
		return appendHost(dst, host)
	}
	host, s = hostField(b)
	if s != names.Known {
		return dst, s
	}
	return appendHost(dst, host)
}

// cutLine returns the first line of b and what follows. whole reports that it has its
// end: a line feed, with or without a carriage return before it.
func cutLine(b []byte) (line, rest []byte, whole bool) {
	line, rest, whole = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest, whole
}

// authority is what the target has, which counts more than a Host field (RFC 9112, 3.2.2
// and 3.2.3). There is none in a path and in an absolute URI without one. It is not ok
// where the target has none of the four forms.
func authority(method, target []byte) (host []byte, ok bool) {
	switch {
	case len(target) == 0:
		return nil, false
	case target[0] == '/' || string(target) == "*":
		return nil, true
	case string(method) == "CONNECT":
		host = hostPart(target)
		return host, len(host) > 0
	}
	scheme, rest, ok := bytes.Cut(target, []byte(":"))
	if !ok || !isScheme(scheme) {
		return nil, false
	}
	rest, ok = bytes.CutPrefix(rest, []byte("//"))
	if !ok {
		return nil, true
	}
	return hostPart(rest), true
}

// hostPart takes off what may stand around a host and its port.
func hostPart(b []byte) []byte {
	if n := bytes.IndexAny(b, "/?#"); n >= 0 {
		b = b[:n]
	}
	if n := bytes.LastIndexByte(b, '@'); n >= 0 {
		b = b[n+1:]
	}
	return b
}

// hostField finds the value of the one Host field.
func hostField(b []byte) (host []byte, s names.State) {
	count, last := 0, true // last: the field before this line is a Host field, or there is none
	for {
		line, rest, whole := cutLine(b)
		switch {
		case !whole:
			return nil, names.More
		case len(line) == 0 && count == 1:
			return host, names.Known
		case len(line) == 0:
			return nil, names.None
		}
		b = rest
		if line[0] == ' ' || line[0] == '\t' { // the field before goes on
			if last {
				return nil, names.None
			}
			continue
		}
		field, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(field) == 0 || !isToken(field) {
			return nil, names.None
		}
		if last = bytes.EqualFold(field, []byte("host")); last {
			if count++; count > 1 {
				return nil, names.None
			}
			host = bytes.Trim(value, " \t")
		}
	}
}

// appendHost takes the port off.
func appendHost(dst, host []byte) (name []byte, s names.State) {
	if len(host) > 0 && host[0] == '[' {
		address, port, ok := bytes.Cut(host[1:], []byte("]"))
		if !ok || !isPort(port) || !all(address, isAddress) {
			return dst, names.None
		}
		return names.AppendHost(dst, address)
	}
	if n := bytes.IndexByte(host, ':'); n >= 0 {
		if !isPort(host[n:]) {
			return dst, names.None
		}
		host = host[:n]
	}
	if !all(host, isHost) {
		return dst, names.None
	}
	return names.AppendHost(dst, host)
}
