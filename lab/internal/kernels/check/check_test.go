package check

import (
	"testing"

	"verdictd/internal/report"
)

// A row that shows nothing is no success.
func TestGuardedRows(t *testing.T) {
	one := uint64(1)
	for _, test := range []struct {
		run report.Run
		ok  bool
	}{
		{report.Run{Delivered: 8, Held: 6}, true},
		{report.Run{Delivered: 8}, false},
		{report.Run{Held: 6}, false},
		{report.Run{Delivered: 8, Held: 6, Lost: 1}, false},
		{report.Run{Delivered: 8, Held: 6, Duplicated: 1}, false},
		{report.Run{Delivered: 8, Held: 6, ClashResolve: &one}, false},
		{report.Run{Delivered: 8, Held: 6, Error: "it broke"}, false},
	} {
		if err := guarded(&test.run); (err == nil) != test.ok {
			t.Errorf("%+v: %v, want success %v", test.run, err, test.ok)
		}
	}
}
