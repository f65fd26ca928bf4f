package names

// State is what is known about the name of a flow or message.
type State uint8

// What there is to know. Only More can become another.
const (
	// More: the bytes so far are the beginning of something that may have a name.
	More State = iota
	// None: there is no name, or this is another protocol, or it breaks the rules of
	// its own in a way that servers refuse.
	None
	// Known: the name was found.
	Known
	// Hidden: the true name is encrypted. There may be an outer name, which is all that
	// can be seen.
	Hidden
	// TooLong: the name was not found within the bounds on bytes, packets and time.
	TooLong
)

func (s State) String() string {
	switch s {
	case More:
		return "more"
	case None:
		return "none"
	case Known:
		return "known"
	case Hidden:
		return "hidden"
	case TooLong:
		return "too-long"
	}
	return "unknown"
}

const (
	// MaxWire is the length of a DNS name on the wire, in bytes (RFC 1035, 2.3.4).
	MaxWire = 255
	// MaxHost is the length of a host's name as text, in bytes: MaxWire without the
	// first length and the root's.
	MaxHost = MaxWire - 2
	// MaxText is the length of no name in this package's form: four bytes for each.
	MaxText = 4 * MaxWire
)

// AppendLabel appends one label of a DNS name; its dots are no separators.
func AppendLabel(dst, label []byte) []byte {
	for _, c := range label {
		if c == '.' {
			dst = appendEscaped(dst, c)
			continue
		}
		dst = appendByte(dst, c)
	}
	return dst
}

// AppendHost appends the name of a host as text, which may have a dot at its end. An
// empty one is None, and one of more than MaxHost bytes is TooLong; nothing is appended
// then.
func AppendHost(dst, host []byte) ([]byte, State) {
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	switch {
	case len(host) == 0:
		return dst, None
	case len(host) > MaxHost:
		return dst, TooLong
	}
	for _, c := range host {
		dst = appendByte(dst, c)
	}
	return dst, Known
}

func appendByte(dst []byte, c byte) []byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return append(dst, c+'a'-'A')
	case c <= ' ' || c > '~' || c == '\\':
		return appendEscaped(dst, c)
	}
	return append(dst, c)
}

func appendEscaped(dst []byte, c byte) []byte {
	return append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}
