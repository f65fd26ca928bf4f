package vocabulary

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Covers is which names an entry of a list of names stands for: bits.
type Covers uint8

// The bits.
const (
	CoversSelf  Covers = 1 << iota // the name itself
	CoversBelow                    // all names below it
)

// lookup brings names of other alphabets into the form on the wire as browsers do (UTS 46),
// but leaves the underscore, which names in DNS do have.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

const (
	maxLabel = 63
	// maxHost is the length of a host's name as text, in bytes (RFC 1035, 2.3.4).
	maxHost = 253
)

// ParseName reads an entry of a list of names: example.org, which is it and all below it,
// *.example.org, all below it, and =example.org, it alone. It appends the name, in lower case and
// as it is on the wire (IDNA, UTS 46), to dst. Errors go behind the entry, and say what to write.
func ParseName(dst, entry []byte) (name []byte, covers Covers, err error) {
	covers = CoversSelf | CoversBelow
	rest := entry
	if after, ok := bytes.CutPrefix(entry, []byte("=")); ok {
		rest, covers = after, CoversSelf
	} else if after, ok := bytes.CutPrefix(entry, []byte("*.")); ok {
		rest, covers = after, CoversBelow
	}
	if len(rest) == 0 {
		return nil, 0, errors.New("is no name")
	}
	host := rest
	if !utf8.Valid(rest) {
		return nil, 0, errors.New("is no name: it is not in UTF-8")
	}
	if !isASCII(rest) {
		text, err := lookup.ToASCII(string(rest))
		if err != nil {
			return nil, 0, mistyped(rest, fmt.Errorf("is no name: %w", err))
		}
		host = []byte(text)
	}
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if len(host) > maxHost {
		return nil, 0, fmt.Errorf("is longer than a name may be on the wire, %d bytes", maxHost)
	}
	at := len(dst)
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	if err := checkName(dst[at:]); err != nil {
		return nil, 0, mistyped(rest, err)
	}
	return dst, covers, nil
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// checkName is for names in lower case: labels of letters, digits, - and _.
func checkName(name []byte) error {
	label, digits := 0, true // digits: the last label has nothing else
	for _, c := range name {
		switch {
		case c == '.' && label == 0:
			return errors.New("has a label without letters: two dots, or one at its beginning")
		case c == '.':
			label, digits = 0, true
			continue
		case 'a' <= c && c <= 'z' || c == '-' || c == '_':
			digits = false
		case c < '0' || c > '9':
			return fmt.Errorf("is no name: it has a %q", c)
		}
		if label++; label > maxLabel {
			return fmt.Errorf("has a label of more than %d bytes", maxLabel)
		}
	}
	switch {
	case label == 0:
		return errors.New("is no name")
	case digits:
		return errors.New("is no name: none ends in a number; addresses belong in a set of prefixes")
	}
	return nil
}

// mistyped names what people write in place of a name, or returns what else is wrong.
func mistyped(text []byte, otherwise error) error {
	fields := bytes.Fields(text)
	switch _, err := netip.ParseAddr(string(text)); {
	case err == nil:
		return errors.New("is an address: it belongs in a set of prefixes")
	case len(fields) > 1:
		if _, err := netip.ParseAddr(string(fields[0])); err == nil {
			return fmt.Errorf("is a line of a hosts file: write %s alone", fields[1])
		}
		return errors.New("has a space in it: write one name a line")
	case text[0] == '.':
		return fmt.Errorf("has a leading dot: write %s, which covers it and all names below, or *%s for those alone", text[1:], text)
	case bytes.HasPrefix(text, []byte("||")) || bytes.HasPrefix(text, []byte("@@")):
		return errors.New("is a filter of a browser: write the name alone")
	}
	rest := text
	if _, after, ok := bytes.Cut(text, []byte("://")); ok {
		rest = after
	}
	host, _, path := bytes.Cut(rest, []byte("/"))
	switch host, _, port := bytes.Cut(host, []byte(":")); {
	case len(rest) < len(text) || path:
		return fmt.Errorf("is a URL: write its host, %s", host)
	case port:
		return fmt.Errorf("has a port: write %s", host)
	case bytes.IndexByte(text, '*') >= 0:
		return errors.New("has a * that does not stand for whole labels at the beginning: write *.example.org")
	}
	return otherwise
}
