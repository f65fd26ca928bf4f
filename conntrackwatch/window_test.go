package main

import (
	"errors"
	"testing"

	"verdictd/conntrackwatch/internal/events"
	"verdictd/conntrackwatch/internal/stats"
)

// broken is an output that takes nothing, like a full disk.
type broken struct{}

var errFull = errors.New("disk full")

func (broken) Write([]byte) (int, error) { return 0, errFull }

func TestUnwritableOutputIsAnError(t *testing.T) {
	for _, w := range []window{{}, {JSON: true}} {
		for _, r := range []textWriter{&stats.Result{}, &events.Result{}} {
			if err := w.print(output{results: broken{}}, r); !errors.Is(err, errFull) {
				t.Errorf("%T, JSON %v: error %v, want %v", r, w.JSON, err, errFull)
			}
		}
	}
}
