package engine

import (
	"errors"
	"testing"
	"time"

	"verdictd/internal/vocabulary"
)

// TestJudge: from the next batch on packets are judged by what was given last, whole.
func TestJudge(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = dropPort(t, 2) })
	r.Start()
	r.queues[0].batches <- batch(udp(2, 1), udp(1, 2))
	slow := Analysis{Distribution: vocabulary.DistributionFixed, Delay: 1}
	change := Judgement{Policy: dropPort(t, 1), Undecodable: vocabulary.Drop, Analysis: slow}
	waitFor(t, &r.log, 2) // the first batch may be in hand otherwise
	if err := r.Judge(change); err != nil {
		t.Fatal(err)
	}
	r.queues[0].batches <- batch(udp(2, 1), udp(1, 2), []byte{1})
	waitFor(t, &r.log, 5)
	for _, wrong := range []Judgement{{Undecodable: 7}, {Analysis: Analysis{Distribution: "normal"}}} {
		if err := r.Judge(wrong); err == nil {
			t.Errorf("%+v was accepted", wrong)
		}
	}
	r.queues[0].batches <- batch(udp(2, 1), udp(1, 2))
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	wantLines(t, r.log.lines, "drop 1", "accept 2", "accept 1", "drop 2", "drop 3", "accept 1", "drop 2")
}

// TestJudgeUnderLoad is for the race detector: policies change while batches come.
func TestJudgeUnderLoad(t *testing.T) {
	r := newRig(t, nil)
	r.Start()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 300 {
			if err := r.Judge(Judgement{Policy: compiled(t, vocabulary.Action(i%2))}); err != nil {
				t.Error(err)
			}
		}
	}()
	const batches = 300
	for range batches {
		r.queues[0].batches <- batch(udp(1, 1), udp(1, 2), udp(1, 3))
	}
	<-ended
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	for i := 0; i+2 < len(r.log.lines); i += 3 {
		if first := r.log.lines[i][:4]; r.log.lines[i+1][:4] != first || r.log.lines[i+2][:4] != first {
			t.Fatalf("one batch was judged by two policies: %q", r.log.lines[i:i+3])
		}
	}
	if len(r.log.lines) != 3*batches {
		t.Errorf("%d verdicts, want %d", len(r.log.lines), 3*batches)
	}
}

// waitFor waits until so many lines were logged.
func waitFor(t *testing.T, l *log, lines int) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Microsecond) {
		l.mu.Lock()
		n := len(l.lines)
		l.mu.Unlock()
		if n >= lines {
			return
		}
	}
	t.Fatalf("no %d lines were logged", lines)
}
