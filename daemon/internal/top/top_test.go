package top

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/control"
	"verdictd/internal/cli"
	"verdictd/internal/statistics"
)

// fake answers with the next status of a list, and then with an error.
type fake struct{ list []*control.Status }

var errGone = errors.New("no daemon answers at /run/x.sock")

func (f *fake) Status(context.Context) (*control.Status, error) {
	if len(f.list) == 0 {
		return nil, errGone
	}
	s := f.list[0]
	f.list = f.list[1:]
	return s, nil
}

// status of a daemon that has judged so many packets.
func status(pid int, packets uint64) *control.Status {
	s := &control.Status{Command: "run", PID: pid, State: control.Running, Started: time.Unix(int64(pid), 0), Uptime: 61}
	s.Rules = control.Rules{Table: "verdictd", Placement: "forward", Statement: "native", Present: true}
	s.Guard = control.Guard{Mode: "hold", Held: 12}
	d := &statistics.Document{Total: &statistics.Totals{}, Gate: &statistics.Gate{}}
	for i := range uint16(3) {
		q := statistics.QueueVerdicts{Queue: 10 + i}
		q.Received, q.Accepted, q.Dropped = packets, packets/2, packets/2
		q.Waiting, q.OldestSeconds = 1234, 0.25
		q.QueueDropped = uint64(i) * packets
		d.Queues = append(d.Queues, q)
		statistics.Add(&d.Total.Verdicts, &q.Verdicts)
		statistics.Add(&d.Total.KernelDrops, &q.KernelDrops)
	}
	d.Rules = []statistics.Rule{{Name: "a rule of a long name\x1b[2J that is cut at some place", Action: "drop", Packets: packets}, {Name: "default", Action: "accept"}}
	d.Gate.Total.Asked, d.Gate.Total.Received = packets, 2*packets
	d.Gate.Total.Elements, d.Gate.Total.Limit = 250, 1000
	s.Statistics = d
	return s
}

func begin(t *testing.T, list ...*control.Status) *Screen {
	t.Helper()
	s, err := New(t.Context(), &fake{list})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRates(t *testing.T) {
	at := time.Unix(100, 0)
	f := between(reading{status(1, 1000), at}, reading{status(1, 3000), at.Add(2 * time.Second)})
	if q := f.queues[2]; q.number != 12 || *q.received != 1000 || *q.accepted != 500 || *q.dropped != 500 || *q.lost != 2000 ||
		q.waiting != 1234 || q.oldest != 250*time.Millisecond {
		t.Errorf("queue %+v", q)
	}
	if *f.received != 3000 || *f.lost != 3000 || *f.rules[0].hits != 1000 || *f.rules[1].hits != 0 || *f.gate.lookups != 1000 {
		t.Errorf("figures %+v", f)
	}
	// Another process has counted from 0, and a rule at a place may be another one.
	f = between(reading{status(1, 1000), at}, reading{status(2, 3000), at.Add(time.Second)})
	if f.received != nil || f.queues[0].received != nil || f.gate.lookups != nil {
		t.Errorf("rates between two daemons: %+v", f)
	}
	other := status(1, 3000)
	other.Statistics.Rules[0].Name = "other"
	if f = between(reading{status(1, 1000), at}, reading{other, at.Add(time.Second)}); f.rules[0].hits != nil || f.rules[1].hits == nil {
		t.Errorf("rules after a reload: %+v", f.rules)
	}
	stopping := &control.Status{PID: 1, State: control.Stopping}
	for _, pair := range [][2]*control.Status{{status(1, 1), stopping}, {stopping, status(1, 1)}, {nil, status(1, 1)}} {
		between(reading{pair[0], at}, reading{pair[1], at.Add(time.Second)})
	}
}

func TestScreen(t *testing.T) {
	gone := status(1, 9000)
	gone.Rules.Present = false
	s := begin(t, status(1, 1000), status(1, 5000), gone)
	s.Read(t.Context())()
	for _, width := range []int{1, 10, 40, 63, 64, 80, 200} {
		text := cli.Frame(s, width)
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width {
				t.Errorf("a line of %d columns at %d: %q", n, width, line)
			}
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 || r < ' ' && r != '\n' }) {
			t.Errorf("not ASCII: %q", text)
		}
		if width < 40 {
			continue
		}
		for _, want := range []string{"process 1", "hold, 12 held", "look-ups/s", "there: table inet verdictd", "250ms", "gate", "a rule", "drop"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q at %d columns:\n%s", want, width, text)
			}
		}
	}
	if text := cli.Frame(s, 80); !strings.Contains(text, "settled 25%") {
		t.Error(text)
	}
	s.Read(t.Context())()
	if text := cli.Frame(s, 80); !strings.Contains(text, "GONE: table inet verdictd") {
		t.Error(text)
	}
	s.Read(t.Context())()
	if text := cli.Frame(s, 80); !strings.Contains(text, errGone.Error()) || !strings.Contains(text, "process 1") {
		t.Errorf("a daemon that is gone, and what it did last: %s", text)
	}
}

func TestNobody(t *testing.T) {
	if _, err := New(t.Context(), &fake{}); !errors.Is(err, errGone) {
		t.Errorf("%v", err)
	}
	s := begin(t, status(1, 1))
	if err := s.Once(t.Context(), time.Millisecond); !errors.Is(err, errGone) {
		t.Errorf("%v, want why there is no second reading", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Once(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.5: "0.5", 9: "9", 12.4: "12", 999.4: "999", 999.6: "1.0k", 1000: "1k", 1234: "1.2k", 123456: "123k", 2.5e6: "2.5M", 1e15: ">1T",
	} {
		if got := amount(&v); got != want || len(got) > 5 {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if v := 123456.; plain(&v) != "123456" || plain(nil) != "-" {
		t.Error(plain(&v))
	}
	for d, want := range map[time.Duration]string{
		0: "-", 250 * time.Millisecond: "250ms", 12 * time.Second: "12s", 90 * time.Minute: "1h30m", 1000 * time.Hour: ">99h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
