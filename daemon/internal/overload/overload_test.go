package overload

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// lines is a log without times.
type lines struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestAges(t *testing.T) {
	start := time.Unix(1000, 0)
	var a ages
	base := ^uint32(0) - 5 // ids wrap
	for i, step := range []struct {
		last, waiting uint32
		want          time.Duration
	}{
		{10, 10, 0},
		{20, 20, time.Second},
		{20, 15, 2 * time.Second}, // 6 is the oldest now, which had come at the first look
		{30, 20, 2 * time.Second}, // 11, of the second
		{30, 1, 0},                // 30, which had come at the fourth look
		{30, 1, 2 * time.Second},  //
		{30, 0, 0},                // all are judged
		{40, 10, 0},               // what waits now came just now
		{300, 260, 0},             // 41 had not come at the look before
		{300, 260, 1 * time.Second},
	} {
		want := step.want
		if i == 4 {
			want = time.Second
		}
		if got := a.oldest(start.Add(time.Duration(i)*time.Second), base+step.last, step.waiting); got != want {
			t.Errorf("step %d: %v, want %v", i, got, want)
		}
	}
	for i := range 10 * looksKept {
		if got, want := a.oldest(start.Add(time.Duration(i+9)*time.Second), base+300, 260), time.Duration(i+1)*time.Second; got > want || got < want-4*time.Second {
			t.Fatalf("%v after %v", got, want)
		}
	}
	if len(a.looks) > looksKept {
		t.Errorf("%d looks are kept", len(a.looks))
	}
}

// TestEpisode: loss is said when it begins and when it ends, and once a minute between.
func TestEpisode(t *testing.T) {
	var l lines
	var e episode
	now := time.Unix(1000, 0)
	pass := func(n int, lost uint64) {
		for range n {
			now = now.Add(every)
			e.note(l.logger(), now, drops{queue: lost, user: 2 * lost})
		}
	}
	pass(100, 0)
	pass(4*90, 3) // a minute and a half
	pass(4*4, 0)  // too short for an end
	pass(1, 1)
	pass(4*10, 0)
	pass(4, 5) // soon after: said with its minute
	pass(100, 0)
	var got []string
	for line := range strings.Lines(l.String()) {
		kind := "lost"
		if strings.Contains(line, "no more") {
			kind = "ended"
		}
		_, counts, _ := strings.Cut(line, "queue_dropped=")
		got = append(got, kind+" "+strings.TrimSpace(counts))
	}
	want := []string{
		"lost 3 user_dropped=6 seconds=0", "lost 723 user_dropped=1446 seconds=60",
		"ended 1081 user_dropped=2162 seconds=94", "ended 20 user_dropped=40 seconds=0.8",
	}
	if !slices.Equal(got, want) {
		t.Errorf("said\n%q, want\n%q", got, want)
	}
}

// TestProgress: a worker that stands is named with its stack, once, and when it moves.
func TestProgress(t *testing.T) {
	release := make(chan struct{})
	var stands sync.WaitGroup
	stands.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("worker", "queue 3"), func(context.Context) { standHere(release) })
	})
	time.Sleep(10 * time.Millisecond)
	var l lines
	var p progress
	stuck := 0
	for i := range uint32(40) {
		w := Worker{Name: "queue 3", Moving: true, Waiting: 1, Judged: i}
		if i >= 4 && i < 36 {
			w.Judged, w.Moving = 3, i%2 == 0
		}
		if p.step(l.logger(), &w, time.Second, 10*time.Second) {
			stuck++
		}
	}
	idle := Worker{Name: "queue 3", Moving: true, Judged: 39}
	for range 40 {
		if p.step(l.logger(), &idle, time.Second, 10*time.Second) {
			t.Error("a worker without packets is stuck")
		}
	}
	close(release)
	stands.Wait()
	text := l.String()
	if stuck != 23 || strings.Count(text, "makes no progress") != 1 || strings.Count(text, "moves again") != 1 || !strings.Contains(text, "standHere") {
		t.Errorf("stuck for %d s, said\n%s", stuck, text)
	}
}

func standHere(release chan struct{}) { <-release }

// feeds is a service manager that wants to be fed.
func feeds(t *testing.T) <-chan time.Time {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "600000")
	fed := make(chan time.Time, 1000)
	go func() {
		b := make([]byte, 100)
		for {
			n, err := manager.Read(b)
			if err != nil {
				return
			}
			if string(b[:n]) == "WATCHDOG=1" {
				fed <- time.Now()
			}
		}
	}()
	return fed
}

// TestMonitor sees a queue that nobody reads: what it loses, what waits, for how long, and that its worker stands.
func TestMonitor(t *testing.T) {
	testkit.Namespace(t)
	q, err := nfq.OpenMmsg(nfq.Config{Queue: 5, MaxLength: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	if _, err := ruleset.Install(ruleset.Config{
		Table: "verdictd", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, FirstQueue: 5, Queues: 1,
		IPv4: true, Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{9},
	}); err != nil {
		t.Fatal(err)
	}
	fed := feeds(t)
	var l lines
	grown := make(chan uint16, 1)
	m, err := Start(Config{
		Log: l.logger(), StuckAfter: time.Second,
		Sources: []Source{{
			Name: "verdicts", Owns: func(n uint16) bool { return n == 5 },
			Workers: func(kernel []nfq.KernelQueue) []Worker {
				return []Worker{{Name: "queue 5", Moving: true, Waiting: kernel[0].Queued, Judged: kernel[0].IDSequence - kernel[0].Queued}}
			},
			Grow: func(queue uint16) (int, error) { grown <- queue; return 1, nil },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-fed:
	case <-time.After(5 * time.Second):
		t.Error("an idle daemon does not feed the watchdog")
	}
	c, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i := range 25 {
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
			if holds() {
				return
			}
		}
		t.Errorf("not seen: %s\n%s", what, l.String())
	}
	await("loss", func() bool { return strings.Contains(l.String(), "queue_dropped=15 user_dropped=0") })
	await("age", func() bool { b := m.Backlog(5); return b.Waiting == 10 && b.OldestSeconds > 0.5 })
	await("a stuck worker", func() bool { return m.Stuck() != nil && strings.Contains(m.Stuck().Error(), "queue 5") })
	for len(fed) > 0 {
		<-fed
	}
	time.Sleep(2 * every)
	if len(fed) > 0 {
		t.Error("the watchdog is fed though a worker stands")
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
	if m.Backlog(6) != (statistics.Backlog{}) || len(grown) > 0 {
		t.Error("a queue that is not there, or one that is full and lacks no buffer")
	}
}
