package advice

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// private are top-level domains that are in nobody's list, and used: RFC 2606, 6761, 6762, 7686, 8375, 9476, and what
// networks call themselves.
var private = []string{
	"arpa", "alt", "corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost",
	"onion", "private", "test",
}

// maxOddNames is how many names of one set are listed.
const maxOddNames = 10

// oddity says why an entry of a list of names is probably not meant; "": it looks well.
func oddity(entry []byte) string {
	name, covers, err := vocabulary.ParseName(nil, entry)
	if err != nil || covers&vocabulary.CoversBelow == 0 {
		return ""
	}
	text := string(name)
	suffix, listed := publicsuffix.PublicSuffix(text)
	last := text[strings.LastIndexByte(text, '.')+1:]
	switch known := listed || strings.Contains(suffix, "."); {
	case slices.Contains(private, last):
		return ""
	case !known:
		return fmt.Sprintf("ends in %s, which is no top-level domain that is known: is it a typing error?", last)
	case suffix == text:
		return fmt.Sprintf("covers every name below %s, which are many owners': write =%s for it alone", text, text)
	}
	return ""
}

// names looks at the entries of rules.
func (o *of) names() {
	for i := range o.Policy.Rules {
		o.namesOf(ruleKey(i), &o.Policy.Rules[i].Match)
	}
}

func (o *of) namesOf(key string, m *config.Match) {
	for field, list := range m.NameLists() {
		for i, n := range list {
			at := fmt.Sprintf("%s.%s[%d]", key, field, i)
			if odd := oddity([]byte(n.Text)); n.Set == "" && odd != "" {
				o.say(at, "%q %s", n.Text, odd)
			}
			if j := slices.IndexFunc(list, func(by config.Name) bool { return by != n && coversName(by, n) }); j >= 0 {
				o.say(at, "is covered by %q of the same list", list[j].Text)
			}
		}
	}
	for field, list := range map[string][]config.Prefix{"source": m.Source, "destination": m.Destination} {
		for i, p := range list {
			if j := slices.IndexFunc(list, func(by config.Prefix) bool { return by != p && coversPrefix(by, p) }); j >= 0 {
				o.say(fmt.Sprintf("%s.%s[%d]", key, field, i), "%s is covered by %s of the same list", p.Prefix, list[j].Prefix)
			}
		}
	}
	for field, inner := range m.Inner() {
		o.namesOf(key+"."+field, inner)
	}
}

// oddNames collects what is odd about the names of one set.
type oddNames struct {
	seen int
	list []string
}

func (n *oddNames) add(entry []byte) {
	odd := oddity(bytes.TrimSpace(entry))
	if odd == "" {
		return
	}
	if n.seen++; n.seen <= maxOddNames {
		n.list = append(n.list, fmt.Sprintf("%q %s", entry, odd))
	}
}
