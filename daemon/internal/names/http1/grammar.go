package http1

import "strings"

func all(b []byte, is func(byte) bool) bool {
	for _, c := range b {
		if !is(c) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// isToken is RFC 9110, 5.6.2; of no bytes as well.
func isToken(b []byte) bool {
	return all(b, func(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 })
}

// isHost is a byte of a registered name or an IPv4 address (RFC 3986, 3.2.2).
func isHost(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-._~!$&'()*+,;=%", c) >= 0
}

// isAddress is a byte of an IPv6 address.
func isAddress(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.'
}

// isScheme is RFC 3986, 3.1.
func isScheme(b []byte) bool {
	return len(b) > 0 && !isDigit(b[0]) && all(b, func(c byte) bool { return isAlphanumeric(c) || c == '+' || c == '-' || c == '.' })
}

// isPort is nothing, or a colon with a number, which may be empty.
func isPort(b []byte) bool {
	return len(b) == 0 || b[0] == ':' && len(b) <= len(":65535") && all(b[1:], isDigit)
}

// isVersion is that of HTTP/1.
func isVersion(b []byte) bool {
	return len(b) == len("HTTP/1.1") && string(b[:7]) == "HTTP/1." && isDigit(b[7])
}

func hasControl(b []byte) bool {
	return !all(b, func(c byte) bool { return c >= ' ' && c != 0x7f })
}
