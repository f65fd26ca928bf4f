package ruleset

import (
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// testMarks are other bits than the default ones, and others in the two marks.
const (
	packetMarks vocabulary.Marks = 0x00ff0000
	flowMarks   vocabulary.Marks = 0x0000ff00
)

// flowRules is a configuration that queues all UDP and TCP in one place, with flow verdicts.
func flowRules(p vocabulary.Placement) Config {
	c := udpRules(p, vocabulary.FanoutBalance, 1)
	c.Protocols = []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP}
	c.Verdicts = &Verdicts{Mark: packetMarks, ConnMark: flowMarks}
	return c
}

// A judged packet, and what is done with it.
type judgement struct {
	verdict vocabulary.MarkVerdict
	flow    bool
}

// A judge serves a queue as the engine does.
type judge struct {
	rules *Installed

	mu     sync.Mutex
	decide func(p *nfq.Packet) judgement
	// replace, if set, makes another reply.
	replace func(p *nfq.Packet, r *nfq.Reply)
	marks   []uint32 // with which packets came
	hooks   []uint8
	done    int // how many have their verdicts
}

// take returns with which marks packets came since the last call.
func (j *judge) take() []uint32 {
	j.mu.Lock()
	defer j.mu.Unlock()
	marks := j.marks
	j.marks, j.hooks = nil, nil
	return marks
}

// set has all packets judged alike.
func (j *judge) set(verdict vocabulary.MarkVerdict, flow bool) {
	j.setBy(func(*nfq.Packet) judgement { return judgement{verdict, flow} })
}

func (j *judge) setBy(decide func(p *nfq.Packet) judgement) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decide = decide
}

// reply is what the engine says of a packet.
func (j *judge) reply(p *nfq.Packet) nfq.Reply {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.marks, j.hooks = append(j.marks, p.Mark), append(j.hooks, p.Hook)
	r := nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: nfq.Accept}
	is := j.decide(p)
	generation := uint16(0)
	if is.flow {
		generation = j.rules.Generation()
	}
	switch {
	case is.verdict == vocabulary.MarkDrop && !is.flow:
		r.Verdict = nfq.Drop
	case is.verdict != vocabulary.MarkAccept || is.flow:
		r.Verdict, r.SetMark, r.Mark = nfq.Repeat, true, packetMarks.Set(p.Mark, packetMarks.Value(is.verdict, generation))
	}
	if j.replace != nil {
		j.replace(p, &r)
	}
	return r
}

// judged installs rules and judges what they queue, in the calling thread's namespace. At
// first all is accepted.
func judged(t *testing.T, c Config) *judge {
	t.Helper()
	j := &judge{}
	j.set(vocabulary.MarkAccept, false)
	q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: c.FirstQueue})
	if err != nil {
		t.Fatal(err)
	}
	j.rules = install(t, c)
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(func(b *nfq.Batch) error {
			for i := range b.Packets {
				r := j.reply(&b.Packets[i])
				if err := q.Reply(&r); err != nil {
					return err
				}
			}
			if err := q.Flush(); err != nil {
				return err
			}
			j.mu.Lock()
			j.done += len(b.Packets)
			j.mu.Unlock()
			return nil
		})
	}()
	t.Cleanup(func() {
		if err := q.Stop(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := q.Stats().VerdictErrors; n != 0 {
			t.Errorf("%d verdicts were refused", n)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// answered is how many packets have their verdicts, and these are carried out.
func (j *judge) answered() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done
}

// await waits until so many packets in all have their verdicts, and these are carried out.
func (j *judge) await(t *testing.T, n int) {
	t.Helper()
	for until := time.Now().Add(surely); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if j.answered() >= n {
			return
		}
	}
	t.Fatalf("%d packets did not come to the queue", n)
}

// expect compares with which marks packets came to the queue.
func (j *judge) expect(t *testing.T, what string, want ...uint32) {
	t.Helper()
	if got := j.take(); !slices.Equal(got, want) {
		t.Errorf("%s: %d packets were queued, with marks %#x, want %#x", what, len(got), got, want)
	}
}
