package clash

import (
	"strings"
	"testing"

	"verdictd/internal/results"
)

func TestEnough(t *testing.T) {
	for want, counted := range map[string]results.Conntrack{
		"no such module":                 {ConntrackUnread: "no such module"},
		"4 clashes, not the 5 wanted":    {Clashes: new(uint64(4)), ClashesCount: "as this kernel does"},
		"not active there":               {Clashes: new(uint64(0)), Untracked: "conntrack is not active there"},
		"counts them: as this kernel do": {Clashes: new(uint64(4)), ClashesCount: "as this kernel does"},
	} {
		if err := (&Config{Clashes: 5}).enough(&counted); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if err := (&Config{}).enough(&counted); err != nil {
			t.Errorf("%v, and nothing was asked for", err)
		}
	}
	if err := (&Config{Clashes: 5}).enough(&results.Conntrack{Clashes: new(uint64(5))}); err != nil {
		t.Error(err)
	}
}
