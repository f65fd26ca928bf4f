package sets

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func namesOf(t testing.TB, entries ...string) *Names {
	t.Helper()
	b := NewNames()
	for _, e := range entries {
		if err := b.Add([]byte(e)); err != nil {
			t.Fatalf("%q %v", e, err)
		}
	}
	return b.Build(time.Unix(1, 0))
}

func TestNamesCover(t *testing.T) {
	s := namesOf(t, "Example.org", "*.below.example", "=only.example", "deep.a.b.c.example.net", "=both.example", "*.both.example",
		"bücher.example", "_dmarc.example.com.", "xn--fsq.example")
	if s.Entries != 8 || !s.Loaded.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", s.Info)
	}
	for name, want := range map[string]string{
		"example.org":               "example.org",
		"www.example.org":           "example.org",
		"a.b.c.d.e.f.g.example.org": "example.org",
		"notexample.org":            "",
		"org":                       "",
		"example.org.evil":          "",
		"below.example":             "",
		"x.below.example":           "below.example",
		"only.example":              "only.example",
		"x.only.example":            "",
		"deep.a.b.c.example.net":    "deep.a.b.c.example.net",
		"x.deep.a.b.c.example.net":  "deep.a.b.c.example.net",
		"a.b.c.example.net":         "",
		"both.example":              "both.example",
		"x.both.example":            "both.example",
		"xn--bcher-kva.example":     "xn--bcher-kva.example",
		"_dmarc.example.com":        "_dmarc.example.com",
		`www\046example.org`:        "",
		`a\046b.example.org`:        "example.org",
		".":                         "",
		"":                          "",
		".example.org":              "example.org",
		strings.Repeat("a.", 300):   "",
		strings.Repeat("a", 300):    "",
		"x..below.example":          "below.example",
	} {
		if got, ok := s.Find([]byte(name)); string(got) != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, want)
		}
	}
	if _, ok := NewNames().Build(time.Time{}).Find([]byte("example.org")); ok {
		t.Error("an empty set has a name")
	}
}

// TestTypingErrors: each has its own words, and a cure.
func TestTypingErrors(t *testing.T) {
	long := strings.Repeat("a", 64)
	for entry, want := range map[string]string{
		".example.org":                       "leading dot: write example.org",
		"https://www.example.org/path":       "URL: write its host, www.example.org",
		"example.org/":                       "URL: write its host, example.org",
		"https://example.org:8443":           "URL: write its host, example.org",
		"example.org:443":                    "has a port: write example.org",
		"0.0.0.0 example.org":                "hosts file: write example.org",
		"::1 localhost ip6-localhost":        "hosts file: write localhost",
		"example.org example.net":            "one name a line",
		"192.0.2.1":                          "is an address",
		"2001:db8::1":                        "is an address",
		"192.0.2.256":                        "ends in a number",
		"*example.org":                       "write *.example.org",
		"www.*.org":                          "write *.example.org",
		"*":                                  "write *.example.org",
		"||example.org^":                     "filter of a browser",
		"exa$mple.org":                       "it has a '$'",
		"a..example.org":                     "two dots",
		"example.org..":                      "is no name",
		".":                                  "leading dot",
		"=":                                  "is no name",
		"*.":                                 "is no name",
		"*..example.org":                     "leading dot",
		long + ".example":                    "more than 63 bytes",
		strings.Repeat("abc.", 70) + "x":     "longer than a name may be",
		"b\xffcher.example":                  "is no name",
		"exa\x00mple.org":                    "it has a '\\x00'",
		"a_b\u200d.example":                  "is no name",
		strings.Repeat("ü", 60) + ".example": "more than 63 bytes",
	} {
		err := NewNames().Add([]byte(entry))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want ... %s", entry, err, want)
		}
	}
}

// TestManyNames: the table grows and loses nothing.
func TestManyNames(t *testing.T) {
	b := NewNames()
	entry := func(i int) string { return fmt.Sprintf("n%d.example", i) }
	for i := range 100_000 {
		if err := b.Add([]byte(entry(i))); err != nil {
			t.Fatal(err)
		}
	}
	s := b.Build(time.Time{})
	for i := range 100_000 {
		if _, ok := s.Find([]byte("www." + entry(i))); !ok {
			t.Fatalf("%s is not there", entry(i))
		}
		if got, ok := s.Find([]byte("x" + entry(i))); ok {
			t.Fatalf("x%s is covered by %s", entry(i), got)
		}
	}
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf })
}

// FuzzNames holds Find against the definition, for names and entries of few letters.
func FuzzNames(f *testing.F) {
	f.Add("a.b =b *.c.a", "c.a.b")
	f.Add("*.a =a b", "a")
	f.Add("aa.b.c.d a.b", "a.aa.b.c.d")
	f.Fuzz(func(t *testing.T, entries, name string) {
		if len(name) > 200 || len(entries) > 2000 {
			return
		}
		b, list := NewNames(), []string{}
		for e := range strings.FieldsSeq(entries) {
			if b.Add([]byte(e)) == nil && isASCII(e) {
				list = append(list, strings.TrimSuffix(strings.ToLower(e), "."))
			} else if !isASCII(e) {
				return // the definition knows no IDNA
			}
		}
		want := ""
		for _, e := range list {
			plain := strings.TrimPrefix(strings.TrimPrefix(e, "="), "*.")
			self := name == plain && !strings.HasPrefix(e, "*")
			below := strings.HasSuffix(name, "."+plain) && !strings.HasPrefix(e, "=")
			if (self || below) && len(plain) > len(want) {
				want = plain
			}
		}
		if got, ok := b.Build(time.Time{}).Find([]byte(name)); string(got) != want || ok != (want != "") {
			t.Errorf("%q in %q: %q, %v, want %q", name, list, got, ok, want)
		}
	})
}
