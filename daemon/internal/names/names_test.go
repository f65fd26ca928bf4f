package names

import (
	"strings"
	"testing"
)

func TestAppendHost(t *testing.T) {
	long := strings.Repeat("a", MaxHost)
	for _, test := range []struct {
		host, want string
		state      State
	}{
		{"www.Example.ORG", "www.example.org", Known},
		{"example.org.", "example.org", Known},
		{"example.org..", "example.org.", Known},
		{".", ".", Known},
		{"", "", None},
		{"a b\x00\\\xff", `a\032b\000\092\255`, Known},
		{long, long, Known},
		{long + ".", long, Known},
		{long + "a", "", TooLong},
	} {
		got, state := AppendHost([]byte("before "), []byte(test.host))
		if string(got) != "before "+test.want || state != test.state {
			t.Errorf("%q: %q, %v, want %q, %v", test.host, got, state, test.want, test.state)
		}
	}
}

func TestAppendLabel(t *testing.T) {
	if got := string(AppendLabel(nil, []byte("WWW.example"))); got != `www\046example` {
		t.Errorf("a label with a dot is %q", got)
	}
}

// TestMaxText: a caller's buffer of this length never grows.
func TestMaxText(t *testing.T) {
	host, _ := AppendHost(nil, []byte(strings.Repeat("\x00", MaxHost)))
	label := AppendLabel(nil, []byte(strings.Repeat("\x00", 63)))
	if n := max(len(host), 3*(len(label)+1)+4*61); n > MaxText {
		t.Errorf("a name of %d bytes, more than %d", n, MaxText)
	}
}

func TestStates(t *testing.T) {
	seen := map[string]bool{}
	for s := More; s <= TooLong+1; s++ {
		if seen[s.String()] {
			t.Errorf("two states are %v", s)
		}
		seen[s.String()] = true
	}
}
