package attached

import (
	"strings"
	"testing"

	"verdictd/internal/statistics"
)

// Counts that show nothing are no success.
func TestJudge(t *testing.T) {
	rules := func(first, further, answer, answered, once uint64) *statistics.Document {
		return &statistics.Document{Rules: []statistics.Rule{
			{Name: "first", Packets: first}, {Name: "further", Packets: further}, {Name: "answer", Packets: answer},
			{Name: "answered", Packets: answered}, {Name: "once", Packets: once},
		}}
	}
	if text, err := judge(rules(1, 1, 1, 1, 2)); err != nil || !strings.Contains(text, "2 came") {
		t.Errorf("%q, %v", text, err)
	}
	for _, d := range []*statistics.Document{
		rules(0, 1, 1, 1, 2), rules(1, 0, 1, 1, 2), rules(1, 1, 2, 1, 2), rules(1, 1, 1, 0, 2), rules(1, 1, 1, 1, 0), rules(1, 1, 1, 1, 9),
	} {
		if text, err := judge(d); err == nil {
			t.Errorf("%+v is taken: %s", d.Rules, text)
		}
	}
}
