package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// dropPort drops what comes from a port.
// compiled is a policy of those rules.
func compiled(t testing.TB, def vocabulary.Action, rules ...policy.Rule) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(policy.Config{Default: def, Rules: rules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onPort is a rule on packets from a port.
func onPort(action vocabulary.Action, port uint16) policy.Rule {
	ports := policy.Ports{Ranges: []vocabulary.PortRange{vocabulary.Ports(port, port)}}
	return policy.Rule{Action: action, Match: policy.Match{SourcePorts: ports}}
}

func dropPort(t *testing.T, port uint16) *policy.Policy {
	t.Helper()
	p := compiled(t, vocabulary.Accept, onPort(vocabulary.Drop, port))
	return p
}

func TestPolicy(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = dropPort(t, 2) })
	lines, total := r.judge(t,
		batch(udp(2, 1), udp(1, 2), udp(2, 3), udp(1, 4)), batch(udp(1, 1), udp(1, 2)), batch(udp(2, 1), udp(2, 2)))
	wantLines(t, lines, "drop 1", "accept 2", "drop 3", "accept 4", "accept 1", "accept 2", "drop 1", "drop 2")
	want := statistics.Verdicts{
		Received: 8, Accepted: 4, Dropped: 4, Latency: total.Latency,
		Transport: statistics.Transport{Batches: 1, VerdictErrors: 2, Malformed: 3},
	}
	if total != want {
		t.Errorf("counters: %+v\nwant:     %+v", total, want)
	}
	if total.Latency.Max <= 0 || total.Latency.P50 > total.Latency.P99 {
		t.Errorf("latency: %+v", total.Latency)
	}
}

// TestUndecodable: what no rule can look at is dropped or accepted as the configuration
// says, whatever the rules and their default say.
func TestUndecodable(t *testing.T) {
	chain := make([]byte, 40, 200) // 17 extension headers, the last of which is cut
	chain[0], chain[5], chain[6] = 0x60, 17*8-1, unix.IPPROTO_DSTOPTS
	for range 17 {
		chain = append(chain, unix.IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0)
	}
	for _, action := range []vocabulary.Action{vocabulary.Drop, vocabulary.Accept} {
		for _, def := range []vocabulary.Action{vocabulary.Drop, vocabulary.Accept} {
			t.Run(fmt.Sprintf("%v, default %v", action, def), func(t *testing.T) {
				rules := compiled(t, def)
				r := newRig(t, func(c *Config) {
					c.Policy, c.Undecodable = rules, action
					c.Hints = &fakeHints{log: &log{}, wanted: true}
					c.Analysis = Analysis{Distribution: vocabulary.DistributionFixed, Delay: time.Hour}
				})
				lines, total := r.judge(t, batch([]byte{1, 2, 3}, chain, nil, udp(1, 1)[:22]))
				wantLines(t, lines, fmt.Sprint(action, " 1"), fmt.Sprint(action, " 2"), fmt.Sprint(action, " 3"), fmt.Sprint(action, " 4"))
				if c := total; c.Undecodable != 4 || c.Accepted+c.Dropped != 4 {
					t.Errorf("counters: %+v", c)
				}
			})
		}
	}
	if _, err := Open(Config{Judgement: Judgement{Undecodable: 7}}); err == nil {
		t.Error("action 7 was accepted")
	}
}

// TestTruncated: what is cut as the configuration says counts as truncated. What is cut as nobody
// looks further does not, and a packet of which less was copied than either comes once more.
func TestTruncated(t *testing.T) {
	long := append(udp(1, 1), make([]byte, 1000)...)
	long[2], long[3] = byte(len(long)>>8), byte(len(long))
	short := func(n int, c uint32) nfq.Packet { return nfq.Packet{Payload: long[:n], CapLen: c} }
	for name, test := range map[string]struct {
		judgement Judgement
		packet    nfq.Packet
		want      string
		truncated uint64
		again     uint64
	}{
		"whole":                 {Judgement{CopyRange: 600}, nfq.Packet{Payload: long[:600]}, "accept 1", 0, 0},
		"as configured":         {Judgement{CopyRange: 600}, short(600, 1029), "accept 1", 1, 0},
		"as looked at":          {Judgement{CopyRange: 600, CopyAuto: true}, short(600, 1029), "accept 1", 0, 0},
		"more than looked at":   {Judgement{CopyRange: 600, CopyAuto: true}, short(700, 1029), "accept 1", 0, 0},
		"less than configured":  {Judgement{CopyRange: 600}, short(599, 1029), "again 1", 0, 1},
		"less than looked at":   {Judgement{CopyRange: 600, CopyAuto: true}, short(599, 1029), "again 1", 0, 1},
		"less than all":         {Judgement{CopyAuto: true}, short(600, 1029), "again 1", 0, 1},
		"not even the headers":  {Judgement{CopyRange: 600, CopyAuto: true}, short(10, 1029), "again 1", 0, 1},
		"as much as there may":  {Judgement{CopyAuto: true}, nfq.Packet{Payload: make([]byte, vocabulary.MaxCopyRange), CapLen: 65535}, "accept 1", 1, 0},
		"as much as configured": {Judgement{CopyRange: 20}, short(20, 1029), "accept 1", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Judgement = test.judgement })
			b := batch(nil)
			b.Packets[0] = test.packet
			b.Packets[0].ID = 1
			lines, total := r.judge(t, b)
			wantLines(t, lines, test.want)
			if total.Truncated != test.truncated || total.CopiedAgain != test.again || total.Received != 1-test.again {
				t.Errorf("counters: %+v", total)
			}
		})
	}
}

// TestCopiedAgainInOrder: packets that come once more are told apart from those around them, and are
// judged when all of them is there.
func TestCopiedAgainInOrder(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy, c.CopyRange, c.CopyAuto = dropPort(t, 2), 512, true })
	long := append(udp(2, 1), make([]byte, 1000)...)
	long[2], long[3] = byte(len(long)>>8), byte(len(long))
	first := batch(udp(2, 1), long[:100], long[:22], udp(1, 1))
	first.Packets[1].CapLen, first.Packets[2].CapLen = 1029, 1029
	second := batch(long[:512], long)
	second.Packets[0].CapLen = 1029
	lines, total := r.judge(t, first, second)
	wantLines(t, lines, "drop 1", "again 2", "again 3", "accept 4", "drop 1", "drop 2")
	if total.Received != 4 || total.Dropped != 3 || total.CopiedAgain != 2 || total.Undecodable != 0 {
		t.Errorf("counters: %+v", total)
	}
}

// TestHints: drops are told when their verdict has returned, and only where somebody
// waits for them.
func TestHints(t *testing.T) {
	fingerprint := func(b []byte) uint32 {
		var v packet.View
		if err := v.Decode(b); err != nil {
			t.Fatal(err)
		}
		return v.Fingerprint()
	}
	first, second := udp(2, 1), udp(2, 3)
	dropped := func(b []byte) string { return fmt.Sprintf("dropped 2 %#x", fingerprint(b)) }
	for name, test := range map[string]struct {
		wanted   bool
		analysis bool
		want     []string
	}{
		"wanted":                 {true, false, []string{"drop 1", "accept 2", "drop 3", dropped(first), dropped(second), "returned 3"}},
		"not wanted":             {false, false, []string{"drop 1", "accept 2", "drop 3", "returned 3"}},
		"a flush of each packet": {true, true, []string{"drop 1", dropped(first), "returned 1", "accept 2", "returned 1", "drop 3", dropped(second), "returned 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			hints := &fakeHints{wanted: test.wanted}
			r := newRig(t, func(c *Config) {
				c.Policy, c.Hints = dropPort(t, 2), hints
				if test.analysis {
					c.Analysis = Analysis{Distribution: vocabulary.DistributionFixed, Delay: 1}
				}
			})
			hints.log = &r.log
			lines, _ := r.judge(t, batch(first, udp(1, 2), second))
			wantLines(t, lines, test.want...)
		})
	}
	t.Run("more drops than a batch has", func(t *testing.T) {
		hints := &fakeHints{log: &log{}, wanted: true}
		r := newRig(t, func(c *Config) { c.Policy, c.Hints, c.Queue.Batch = dropPort(t, 2), hints, 2 })
		r.judge(t, batch(first, first, first))
		wantLines(t, hints.log.lines, dropped(first), dropped(first), "returned 3")
	})
}

func TestWorkerErrors(t *testing.T) {
	hints := &fakeHints{log: &log{}, wanted: true}
	r := newRig(t, func(c *Config) { c.Hints = hints })
	broken := errors.New("broken")
	r.queues[0].fail = broken
	r.Start()
	r.queues[0].batches <- batch(udp(1, 1))
	if err := <-r.Failed(); !errors.Is(err, broken) {
		t.Errorf("failed with %v", err)
	}
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Error(err)
	}
	if !r.queues[0].closed {
		t.Error("the queue stayed open")
	}
	wantLines(t, hints.log.lines) // nothing has returned
}

func TestOpenCleansUp(t *testing.T) {
	var opened []*fakeQueue
	refused := errors.New("no third")
	_, err := Open(Config{
		Queues: 3,
		Open: func(c nfq.Config) (nfq.Queue, error) {
			if c.Queue == 2 {
				return nil, refused
			}
			q := &fakeQueue{cfg: c}
			opened = append(opened, q)
			return q, nil
		},
	})
	if !errors.Is(err, refused) || len(opened) != 2 {
		t.Fatalf("%v; %d queues", err, len(opened))
	}
	for i, q := range opened {
		if !q.closed {
			t.Errorf("queue %d stayed open", i)
		}
	}
}

func TestResultsAddUp(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Queues = 2; c.Queue.Queue = 7 })
	if r.queues[0].cfg.Queue != 7 || r.queues[1].cfg.Queue != 8 || r.ReceiveBuffer() != 8 {
		t.Errorf("queues %d and %d, least buffer %d", r.queues[0].cfg.Queue, r.queues[1].cfg.Queue, r.ReceiveBuffer())
	}
	r.Start()
	r.queues[0].batches <- batch(udp(1, 1))
	r.queues[1].batches <- batch(udp(2, 1), udp(3, 1))
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	results := r.Results()
	queues, total := results.Queues, results.Total
	if queues[0].Received != 1 || queues[1].Received != 2 || total.Received != 3 || total.Batches != 2 || total.Malformed != 6 {
		t.Errorf("queues %+v, total %+v", queues, total)
	}
}

// TestStoppedProgram: one that was stopped for longer than the histogram reaches goes on.
func TestStoppedProgram(t *testing.T) {
	r := newRig(t, nil)
	late, early := batch(udp(1, 1)), batch(udp(1, 1))
	late.Received -= int64(75 * time.Second)
	early.Received += int64(time.Hour) // no clock does that
	lines, total := r.judge(t, late, early, batch(udp(1, 1)))
	wantLines(t, lines, "accept 1", "accept 1", "accept 1")
	if us := total.Latency.Max; us < 59e6 || us > 61e6 {
		t.Errorf("latency up to %v us, want a minute", us)
	}
}
