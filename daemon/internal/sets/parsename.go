package sets

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"verdictd/daemon/internal/names"
)

// lookup brings names of other alphabets into the form on the wire as browsers do (UTS 46),
// but leaves the underscore, which names in DNS do have.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

const maxLabel = 63

// parseName appends the entry's name to dst, and says what it covers.
func parseName(dst, entry []byte) (name []byte, covers byte, err error) {
	covers = coversSelf | coversBelow
	rest := entry
	if after, ok := bytes.CutPrefix(entry, []byte("=")); ok {
		rest, covers = after, coversSelf
	} else if after, ok := bytes.CutPrefix(entry, []byte("*.")); ok {
		rest, covers = after, coversBelow
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
	name, state := names.AppendHost(dst, host)
	if state == names.TooLong {
		return nil, 0, fmt.Errorf("is longer than a name may be on the wire, %d bytes", names.MaxHost)
	}
	if err := checkName(name); err != nil {
		return nil, 0, mistyped(rest, err)
	}
	return name, covers, nil
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
