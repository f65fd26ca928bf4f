package hello

import (
	"encoding/binary"

	"verdictd/daemon/internal/names"
)

const (
	typeClientHello = 1
	headerLen       = 4 // type and length
	// maxHello is the longest hello that crypto/tls reads, in bytes.
	maxHello = 1 << 16

	extensionName = 0      // RFC 6066, 3
	extensionALPN = 16     // RFC 7301, 3.1
	extensionECH  = 0xfe0d // RFC 9849, 5

	nameHost = 0
)

// Hello is what a client shows. ALPN is valid as long as the bytes that it was read from,
// and until the Decoder's next call.
type Hello struct {
	// Name is in the form of package names; the outer one where there is ECH. Empty: none.
	Name []byte
	// ALPN is the list of protocols as it stands in the hello: a length of one byte
	// before each.
	ALPN []byte
	// ECH reports the extension for an encrypted hello.
	ECH bool
}

// Offers reports whether protocol is in the list, for example "h2".
func (h *Hello) Offers(protocol string) bool {
	for list := h.ALPN; len(list) > 0; {
		n := 1 + int(list[0])
		if string(list[1:n]) == protocol {
			return true
		}
		list = list[n:]
	}
	return false
}

// Message reads the ClientHello that b begins with, and appends the name to dst. It
// returns More where b ends inside of it.
func Message(b, dst []byte) (h Hello, s names.State) {
	body, s := message(b)
	if s != names.Known {
		return Hello{}, s
	}
	list, ok := extensions(body)
	if !ok {
		return Hello{}, names.None
	}
	var seen struct{ name, alpn, ech bool }
	var host []byte
	for len(list) > 0 {
		var kind uint16
		var data []byte
		if kind, list, ok = number(list); !ok {
			return Hello{}, names.None
		}
		if data, list, ok = long(list); !ok {
			return Hello{}, names.None
		}
		again := false
		switch kind {
		case extensionName:
			again, seen.name = seen.name, true
			host, ok = hostName(data)
		case extensionALPN:
			again, seen.alpn = seen.alpn, true
			h.ALPN, ok = protocols(data)
		case extensionECH:
			again, seen.ech = seen.ech, true
		}
		if again || !ok {
			return Hello{}, names.None
		}
	}
	h.ECH = seen.ech
	name, s := names.AppendHost(dst, host)
	h.Name = name[len(dst):]
	if h.ECH {
		s = names.Hidden
	}
	return h, s
}

// Size is how long the hello that b begins with says that it is, in bytes; 0: not yet.
func Size(b []byte) int {
	if len(b) < headerLen {
		return 0
	}
	return headerLen + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
}

// message returns what a ClientHello has behind its header.
func message(b []byte) (body []byte, s names.State) {
	if len(b) > 0 && b[0] != typeClientHello {
		return nil, names.None
	}
	if len(b) < headerLen {
		return nil, names.More
	}
	switch n := Size(b); {
	case n > headerLen+maxHello:
		return nil, names.TooLong
	case n > len(b):
		return nil, names.More
	default:
		return b[headerLen:n], names.Known
	}
}

// extensions skips what stands before them (RFC 8446, 4.1.2). There may be none.
func extensions(b []byte) (list []byte, ok bool) {
	const versionAndRandom = 2 + 32
	if len(b) < versionAndRandom {
		return nil, false
	}
	b = b[versionAndRandom:]
	if _, b, ok = short(b); !ok { // session
		return nil, false
	}
	suites, b, ok := long(b)
	if !ok || len(suites)%2 != 0 {
		return nil, false
	}
	if _, b, ok = short(b); !ok { // compression
		return nil, false
	}
	if len(b) == 0 {
		return nil, true
	}
	list, b, ok = long(b)
	return list, ok && len(b) == 0
}

// hostName is the one host in a list of names, or nil.
func hostName(data []byte) (host []byte, ok bool) {
	list, rest, ok := long(data)
	if !ok || len(rest) > 0 || len(list) == 0 {
		return nil, false
	}
	for len(list) > 0 {
		kind := list[0]
		var name []byte
		if name, list, ok = long(list[1:]); !ok || len(name) == 0 {
			return nil, false
		}
		if kind != nameHost {
			continue
		}
		if host != nil {
			return nil, false
		}
		host = name
	}
	return host, true
}

// protocols is the list, in which none is empty.
func protocols(data []byte) (list []byte, ok bool) {
	list, rest, ok := long(data)
	if !ok || len(rest) > 0 || len(list) == 0 {
		return nil, false
	}
	for rest = list; len(rest) > 0; {
		var name []byte
		if name, rest, ok = short(rest); !ok || len(name) == 0 {
			return nil, false
		}
	}
	return list, true
}

// number, short and long read a number, and bytes behind a length of one and two bytes.
func number(b []byte) (n uint16, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b), b[2:], true
}

func short(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+int(b[0])], b[1+int(b[0]):], true
}

func long(b []byte) (value, rest []byte, ok bool) {
	n, rest, ok := number(b)
	if !ok || len(rest) < int(n) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}
