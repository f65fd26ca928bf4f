package compare

import (
	"io"
	"os"
	"strings"
	"testing"
)

// FuzzRead reads arbitrary text as results, and compares them with a real one: whatever
// was read can be told.
func FuzzRead(f *testing.F) {
	result, err := os.ReadFile("testdata/clash.json") // of stress clash --topology loopback --flows 50
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(result))
	f.Add(clash("6.1", 3, 1000) + "\n" + clash("6.1", 4, 1010))
	f.Add(`{"schema": 1, "scenario": "clash", "incomplete": true}`)
	f.Fuzz(func(t *testing.T, text string) {
		newSide := func(text string) (*Side, error) {
			s := &Side{Name: "x", Files: []string{"x"}, Skipped: []string{}, cases: map[string]samples{}, facts: map[string][]string{}}
			return s, s.read(strings.NewReader(text), "x")
		}
		after, err := newSide(text)
		if err != nil {
			return
		}
		before, err := newSide(string(result))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Compare(before, after, 0.05)
		if err != nil {
			return // they have nothing in common
		}
		if err := c.WriteText(io.Discard, true); err != nil {
			t.Error(err)
		}
		if err := c.WriteHTML(io.Discard); err != nil {
			t.Error(err)
		}
	})
}
