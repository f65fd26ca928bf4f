package config

import (
	"errors"
	"slices"
	"testing"

	"verdictd/internal/vocabulary"
)

func TestChanged(t *testing.T) {
	same := Default()
	same.Queues.Pin, same.Policy.Rules = []int{}, []Rule{}
	if keys := Changed(Default(), same); len(keys) != 0 {
		t.Errorf("empty lists differ: %v", keys)
	}
	other := Default()
	other.Guard.Mode, other.Metrics.Listen, other.Queues.First = vocabulary.GuardOff, "127.0.0.1:1", 3
	other.Policy.Rules = []Rule{{Match: Match{Source: prefixes("192.0.2.0/24")}}}
	want := []string{"queues.first", "guard.mode", "policy.rules", "metrics.listen"}
	if keys := Changed(Default(), other); !slices.Equal(keys, want) {
		t.Errorf("changed: %v, want %v", keys, want)
	}
	again := *other
	again.Policy.Rules = []Rule{{Match: Match{Source: prefixes("192.0.2.0/25")}}}
	if keys := Changed(other, &again); !slices.Equal(keys, []string{"policy.rules"}) {
		t.Errorf("changed: %v, want the rules", keys)
	}
}

func TestProblemsOfAnError(t *testing.T) {
	_, err := Parse("f", []byte("queues: {count: 0}\ngaurd: {}\n"))
	if list := Problems(err); len(list) != 2 || list[0].Line != 1 || list[1].Line != 2 || list[1].Key != "gaurd" {
		t.Errorf("problems: %v", list)
	}
	if list := Problems(errors.New("other")); list != nil {
		t.Errorf("problems of another error: %v", list)
	}
}
