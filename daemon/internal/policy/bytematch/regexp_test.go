package bytematch

import (
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// runes gives each byte as the character with its number, as which the standard library
// reads expressions over bytes too.
type runes struct{ b []byte }

func (r *runes) ReadRune() (rune, int, error) {
	if len(r.b) == 0 {
		return 0, 0, io.EOF
	}
	c := r.b[0]
	r.b = r.b[1:]
	return rune(c), 1, nil
}

func match(r *Regexp, b []byte, whole bool) bool {
	s := new(Scratch)
	s.Grow(r)
	return r.Match(b, whole, s)
}

// both matches with the table and without.
func both(t *testing.T, expr string, b []byte) {
	t.Helper()
	r, err := Compile(expr)
	if err != nil {
		t.Fatalf("%q: %v", expr, err)
	}
	want := regexp.MustCompile(expr).MatchReader(&runes{b})
	walked := *r
	walked.next = nil
	for name, r := range map[string]*Regexp{"as compiled": r, "without a table": &walked} {
		if got := match(r, b, true); got != want {
			t.Fatalf("%q on %q, %s: %v; want %v", expr, b, name, got, want)
		}
	}
	if got, want := match(r, b, false), match(&walked, b, false); got != want {
		t.Fatalf("%q on %q and more: %v by the table, %v without", expr, b, got, want)
	}
}

var exprs = []string{
	``, `a`, `^GET `, `abc$`, `^$`, `^\x16\x03[\x00-\x03]`, `\xff\xfe`, `(?i)host:\s*example`, `a|b|^c`, `(?m)^b`, `(?m)a$`, `\bword\b`,
	`\Bx`, `(?s)a.c`, `a.c`, `[^a]b`, `x*y+z?`, `(a|ab)(c|bcd)`, `a{2,5}b`, `.{10}b`, `a.{15}b`, `^.{3}\x00`, `[[:alpha:]]+=`, `(?i)\xe9`, `^(a|b)*$`, `\z`, `(?m)$`,
	`^a|b$`, `(^a)|(?m:^b)`, `(^|x)a`, `\w+@\w+\.com`, `^(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}`, `a\b`, `\b`,
}

func TestMatch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	texts := []string{"", "a", "GET / HTTP/1.1\r\nHost: example.org\r\n", "abc", "abc\n", "\x16\x03\x01\x02", "\xff\xfe", "HOST:\t EXAMPLE", "c\nb", "xx word yy", "a\nc", "aaab", "word"}
	for range 60 {
		b := make([]byte, random.IntN(40))
		for i := range b {
			b[i] = "aabbccxyz \n\x00\xff\xe9\xc9\x16\x03"[random.IntN(17)]
		}
		texts = append(texts, string(b))
	}
	for _, expr := range exprs {
		for _, text := range texts {
			both(t, expr, []byte(text))
		}
	}
}

// What is cut off has no end.
func TestCut(t *testing.T) {
	for _, test := range []struct {
		expr, text  string
		whole, more bool
	}{{`abc$`, "abc", true, false}, {`abc`, "abc", true, true}, {`^$`, "", true, false}, {``, "", true, true}, {`c\b`, "abc", true, false}, {`a\b`, "a ", true, true}} {
		r, err := Compile(test.expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := match(r, []byte(test.text), true); got != test.whole {
			t.Errorf("%q on %q: %v", test.expr, test.text, got)
		}
		if got := match(r, []byte(test.text), false); got != test.more {
			t.Errorf("%q on %q and more: %v", test.expr, test.text, got)
		}
	}
}

func TestCompile(t *testing.T) {
	for expr, want := range map[string]string{
		"é": "outside of ASCII", "(": "missing closing", strings.Repeat("(a{1000})", 5): "too large", `a{2000}`: "invalid repeat", `(?=x)`: "invalid or unsupported",
	} {
		if _, err := Compile(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", expr, err, want)
		}
	}
	for expr, walks := range map[string]bool{`^GET `: false, `a.{15}b`: true, strings.Repeat("[ab]c{300}", 10): false} {
		r, err := Compile(expr)
		if err != nil {
			t.Fatalf("%.20q: %v", expr, err)
		}
		if r.Walks() != walks {
			t.Errorf("%.20q walks: %v", expr, r.Walks())
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, expr := range exprs {
		f.Add(expr, []byte("abc \xff\n"))
	}
	f.Fuzz(func(t *testing.T, expr string, b []byte) {
		if len(expr) > 200 || len(b) > 1000 {
			return
		}
		if _, err := Compile(expr); err != nil {
			return
		}
		both(t, expr, b)
	})
}
