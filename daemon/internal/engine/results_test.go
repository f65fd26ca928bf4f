package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// TestRulesAreCounted: by name, and on, when the policy changes.
func TestRulesAreCounted(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Queues = 2
		c.Judgement = Judgement{
			Policy: compiled(t, vocabulary.Accept, onPort(vocabulary.Drop, 1), onPort(vocabulary.Accept, 2)), Names: []string{"one"},
		}
	})
	r.Start()
	list := func() (lines []string) {
		for _, rule := range r.Results().Rules {
			lines = append(lines, fmt.Sprintf("%s %s %d", rule.Name, rule.Action, rule.Packets))
		}
		return lines
	}
	await := func(want ...string) {
		t.Helper()
		var got []string
		for until := time.Now().Add(5 * time.Second); time.Now().Before(until) && !slices.Equal(got, want); time.Sleep(time.Millisecond) {
			got = list()
		}
		if !slices.Equal(got, want) {
			t.Errorf("counted\n%q, want\n%q", got, want)
		}
	}
	await("one drop 0", "#2 accept 0", "default accept 0", "undecodable accept 0")
	r.queues[0].batches <- batch(udp(1, 1), udp(2, 1), udp(3, 1))
	r.queues[1].batches <- batch(udp(1, 1), udp(1, 1)[:7])
	await("one drop 2", "#2 accept 1", "default accept 1", "undecodable accept 1")
	if err := r.Judge(Judgement{Policy: compiled(t, vocabulary.Drop, onPort(vocabulary.Drop, 2)), Names: []string{"one"}}); err != nil {
		t.Fatal(err)
	}
	await("one drop 2", "default drop 0", "undecodable accept 1", "#2 accept 1", "default accept 1")
	r.queues[0].batches <- batch(udp(2, 1), udp(3, 1))
	await("one drop 3", "default drop 1", "undecodable accept 1", "#2 accept 1", "default accept 1")
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// busyQueue hands over batches as fast as they are judged.
type busyQueue struct {
	nullQueue
	window *statistics.Window
	stop   chan struct{}
}

func (q *busyQueue) Run(handle func(*nfq.Batch) error) error {
	q.window.Shut()
	defer q.window.Open()
	b := batch(udp(1, 1), udp(2, 1))
	for {
		select {
		case <-q.stop:
			return nil
		default:
		}
		b.Received = nfq.Now()
		if err := handle(b); err != nil {
			return err
		}
	}
}

func (q *busyQueue) Stop() error { close(q.stop); return nil }

// TestResultsOfBusyEngine: several who look at once see counters that add up.
func TestResultsOfBusyEngine(t *testing.T) {
	e, err := Open(Config{
		Queues: 2, Judgement: Judgement{Policy: dropPort(t, 9)},
		Open: func(c nfq.Config) (nfq.Queue, error) {
			return &busyQueue{window: c.Window, stop: make(chan struct{})}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var last statistics.Verdicts
			for range 50 {
				r := e.Results()
				n, _ := r.Total.Latency.Times.Count()
				var ruled uint64
				for _, rule := range r.Rules {
					ruled += rule.Packets
				}
				if v := r.Total; v.Received != v.Accepted+v.Dropped || v.Received != n || v.Received != ruled || v.Received < last.Received {
					t.Errorf("%+v, %d times, %d by rules, after %d", v, n, ruled, last.Received)
				}
				last = r.Total
			}
		})
	}
	readers.Wait()
	if moving := e.Moving(); !slices.Equal(moving, []bool{true, true}) {
		t.Errorf("moving: %v", moving)
	}
	if err := errors.Join(e.Stop(), e.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDropped: what the policy dropped is told, so many a second.
func TestDropped(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Judgement = Judgement{Policy: dropPort(t, 9), Names: []string{"nine"}, Undecodable: vocabulary.Drop, LogDrops: 2}
	})
	b := batch(udp(1, 1), udp(9, 1), udp(2, 1)[:7], udp(9, 2), udp(9, 3))
	b.Packets[1].InDev = 3
	later := batch(udp(9, 4))
	later.Received = b.Received + 2*second
	r.judge(t, b, later)
	var got []string
	for d, ok := r.Noted(); ok; d, ok = r.Noted() {
		got = append(got, fmt.Sprint(d.Rule, d.Key[0], d.Key[1], d.Bytes, d.InDev, d.More))
	}
	if want := []string{"nine4 17 29 3 0", "undecodable0 0 7 0 0", "nine4 17 29 0 2"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
