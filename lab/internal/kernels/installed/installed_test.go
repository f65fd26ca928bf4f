package installed

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/nfq"
	"verdictd/internal/traffic"
)

// whole is a ledger of a run in which nothing went wrong.
func whole() *ledger {
	var r ledger
	r.accepted.FloodArrivals, r.dropped.FloodArrivals = &traffic.FloodArrivals{}, &traffic.FloodArrivals{}
	r.accepted.Sent, r.accepted.Delivered, r.dropped.Sent, r.dropped.Lost = 100, 100, 50, 50
	r.accepted.Clashes = new(uint64)
	r.mixed.Targets = []traffic.MixTargetResult{{}}
	r.mixed.Targets[0].Sent = 10
	return &r
}

func TestLedger(t *testing.T) {
	if text, err := whole().judge(); err != nil || !strings.Contains(text, "of 50 to be dropped 0 unjudged") {
		t.Errorf("%q, %v", text, err)
	}
	few := whole()
	few.accepted.Lost, few.accepted.ReceiverDropped = 3, new(uint64)
	*few.accepted.ReceiverDropped = 3
	if text, err := few.judge(); err != nil || !strings.Contains(text, "3 of those lost at the receiver's own socket") {
		t.Errorf("%q, %v", text, err)
	}
	full := whole()
	full.accepted.Lost, full.accepted.SendErrno = 3, map[string]uint64{"EAGAIN": 3}
	if text, err := full.judge(); err != nil || !strings.Contains(text, "3 of those not sent") {
		t.Errorf("%q, %v", text, err)
	}
	for what, spoil := range map[string]func(*ledger){
		"100 packets 1 lost": func(r *ledger) { r.accepted.Lost = 1 },
		"4 lost": func(r *ledger) {
			r.accepted.Lost, r.accepted.ReceiverDropped = 4, new(uint64)
			*r.accepted.ReceiverDropped = 3
		},
		"5 lost":                         func(r *ledger) { r.accepted.Lost, r.accepted.SendErrno = 5, map[string]uint64{"EPERM": 5} },
		"2 duplicated":                   func(r *ledger) { r.accepted.Duplicated = 2 },
		"3 reordered":                    func(r *ledger) { r.accepted.Reordered = 3 },
		"4 unjudged":                     func(r *ledger) { r.dropped.Delivered = 4 },
		"5 clashes":                      func(r *ledger) { *r.accepted.Clashes = 5 },
		"6 packets lost":                 func(r *ledger) { r.mixed.Violations = []string{"6 packets lost"} },
		"has not said":                   func(r *ledger) { r.dropped.FloodArrivals = nil },
		"nothing was sent":               func(r *ledger) { r.mixed.Targets[0].Sent = 0 },
		"7 packets wait in queues still": func(r *ledger) { r.waiting = 7 },
	} {
		r := whole()
		spoil(r)
		if _, err := r.judge(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want it to say %q", err, what)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, l := range []Load{{}, {Rate: 1, Gap: 1}} {
		if err := l.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, l := range []Load{{Rate: -1}, {Gap: -1}, {Kills: -1}} {
		if l.Validate() == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

// TestFollow: each line of the guest is passed on, and how far it is is told by those of steps and of what happens.
func TestFollow(t *testing.T) {
	var remarks, out bytes.Buffer
	shown := cli.NewProgress(&remarks)
	defer shown.End()
	c := &Config{Load: Load{Reloads: 1, Kills: 1}}
	f := c.follow(shown, &out)
	at := func(want string) {
		t.Helper()
		remarks.Reset()
		shown.Say("now")
		if got := remarks.String(); !strings.HasPrefix(got, "["+want+"/14, ") {
			t.Errorf("%q, want step %s of 14", got, want)
		}
	}
	at("1")
	const text = "   1.0 s  ok    systemd is up: 252\n  20.5 s  FAIL  a promise: one\n   2.0 s is no line of its own\n" +
		"1000.0 s        reload 1: 0.1 s; none\n[    3.1] systemd: Started\n"
	for i := range text {
		if n, err := f.Write([]byte{text[i]}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if out.String() != text {
		t.Errorf("passed on: %q", out.String())
	}
	at("4")
	for range 3 { // more than was told
		_, _ = f.Write([]byte("1001.0 s        kill 1: 0.1 s; none\n"))
	}
	at("5")
}

// TestDrops: what was dropped before is not told.
func TestDrops(t *testing.T) {
	before := drops{"a": 7, "b": 9}
	if got := (drops{"a": 7, "b": 3, "c": 0}).since(before); got != "the kernel counts no drops" {
		t.Error(got)
	}
	if got := (drops{"c": 1, "a": 8, "b": 9}).since(before); got != "the kernel dropped 1 (a), 1 (c)" {
		t.Error(got)
	}
	now, err := readDrops()
	if _, backlog := now["netdev_max_backlog"]; err != nil || !backlog {
		t.Errorf("%v, %v", now, err)
	}
}

// TestWatch plays a restart: packets come, nobody judges them for two seconds, and then all are judged.
func TestWatch(t *testing.T) {
	w := &watch{last: map[uint16]progress{}}
	at := time.Unix(0, 0)
	look := func(after time.Duration, id, queued, dropped uint32) {
		at = at.Add(after)
		w.note(at, []nfq.KernelQueue{{Queue: 1, IDSequence: id, Queued: queued, QueueDropped: dropped}})
	}
	look(0, 10, 0, 7)
	look(time.Second, 20, 0, 7)
	look(time.Second, 30, 5, 7)
	look(time.Second, 40, 15, 7)
	look(time.Second, 50, 25, 9)
	look(time.Second, 60, 0, 9)
	if got, want := w.take(), (seen{dark: 2 * time.Second, queued: 25, full: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	look(time.Second, 70, 0, 9)
	if got := w.take(); got != (seen{}) {
		t.Errorf("%+v of a queue that is empty", got)
	}
	look(time.Second, 0, 0, 0) // bound by somebody else
	if got := w.take(); got != (seen{}) {
		t.Errorf("%+v of a new queue", got)
	}
}
