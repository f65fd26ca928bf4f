package engine

import (
	"errors"
	"slices"
	"testing"

	"verdictd/internal/nfq"
)

// entryRig has a queue for each thing to know about entries.
func entryRig(t *testing.T, change func(*Config)) *rig {
	return newRig(t, func(c *Config) {
		c.Queue.Queue = 5
		c.EntryQueues = &EntryQueues{Confirmed: 100, Unconfirmed: 200, Translated: 300}
		if change != nil {
			change(c)
		}
	})
}

func TestEntryQueuesAreBound(t *testing.T) {
	r := entryRig(t, func(c *Config) { c.Queues = 2 })
	defer func() { _ = r.Close() }()
	for i, want := range [][]uint16{{105, 205, 305}, {106, 206, 306}} {
		if got := r.queues[i].cfg; got.Queue != uint16(5+i) || !slices.Equal(got.Others, want) {
			t.Errorf("queue %d and %v, want %d and %v", got.Queue, got.Others, 5+i, want)
		}
	}
}

// TestEntryQueues: what the queue tells counts at once, at every hook.
func TestEntryQueues(t *testing.T) {
	of := func(of uint8, n byte) nfq.Packet { return nfq.Packet{Of: of, Payload: udp(1, n), Hook: nfq.HookOutput} }
	at := func(h nfq.Hook, packets ...nfq.Packet) *nfq.Batch {
		for i := range packets {
			packets[i].Hook, packets[i].InDev = h, 2
		}
		return batch(packets...)
	}
	for name, test := range map[string]struct {
		batches []*nfq.Batch
		want    []string
	}{
		"unconfirmed, then confirmed": {
			[]*nfq.Batch{batch(of(ofUnconfirmed, 1), of(ofUnconfirmed, 2)), batch(of(ofConfirmed, 3), of(0, 4))},
			[]string{"accept 1", "send 2 mark 0 dev 0", "drop 2", "accept 1", "send 4 mark 0 dev 0", "drop 2"},
		},
		"confirmed from the first on": {
			[]*nfq.Batch{batch(of(ofConfirmed, 1), of(ofConfirmed, 2))}, []string{"accept 1", "accept 2"},
		},
		"none overtakes": {
			[]*nfq.Batch{batch(of(ofUnconfirmed, 1), of(ofUnconfirmed, 2), of(ofConfirmed, 3))},
			[]string{"accept 1", "send 2 mark 0 dev 0", "send 3 mark 0 dev 0", "drop 2", "drop 3"},
		},
		"answers in FORWARD are not asked about": {
			[]*nfq.Batch{at(nfq.HookForward, of(ofConfirmed, 1), of(ofConfirmed, 2))}, []string{"accept 1", "accept 2"},
		},
		"further ones in FORWARD are": {
			[]*nfq.Batch{at(nfq.HookForward, of(ofUnconfirmed, 1), of(ofUnconfirmed, 2)), at(nfq.HookForward, of(ofConfirmed, 3))},
			[]string{"accept 1", "confirmed? true", "send 2 mark 0 dev 0", "drop 2", "accept 1"},
		},
		"behind DNAT": {
			[]*nfq.Batch{batch(of(ofTranslated, 1), of(ofTranslated, 2)), batch(of(ofConfirmed, 3))},
			[]string{"accept 1", "drop 2", "accept 1"},
		},
		"beside DNAT": {
			[]*nfq.Batch{at(nfq.HookPostrouting, of(ofUnconfirmed, 1), of(ofUnconfirmed, 2))},
			[]string{"accept 1", "send 2 mark 0 dev 0", "drop 2"},
		},
		"where nobody tells of DNAT": {
			[]*nfq.Batch{at(nfq.HookPostrouting, of(0, 1), of(0, 2))}, []string{"accept 1", "drop 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := entryRig(t, func(c *Config) { c.DNAT, c.DNATAt = GuardDrop, Hooks(nfq.HookPostrouting) })
			r.workers[0].guard.prover = &fakeProver{log: &r.log}
			lines, total := r.judge(t, test.batches...)
			wantLines(t, lines, test.want...)
			asked := uint64(0)
			for _, l := range lines {
				if l == "confirmed? true" {
					asked++
				}
			}
			if total.LookedUp != asked || total.Unguarded != 0 {
				t.Errorf("counters: %+v; want %d look-ups", total.Counters, asked)
			}
		})
	}
}

// TestEntryQueuesWithoutProver: nobody can be asked, but who is confirmed need not be.
func TestEntryQueuesWithoutProver(t *testing.T) {
	r := entryRig(t, nil)
	var packets []nfq.Packet
	for _, of := range []uint8{ofUnconfirmed, ofUnconfirmed, ofConfirmed} {
		packets = append(packets, nfq.Packet{Of: of, Payload: udp(1, of), Hook: nfq.HookForward, InDev: 2})
	}
	lines, total := r.judge(t, batch(packets...))
	wantLines(t, lines, "accept 1", "accept 2", "accept 3")
	if c := total.Counters; c.Unguarded != 2 || c.EntryKnown != 3 {
		t.Errorf("counters: %+v; want 2 of 3 packets of which all was known to be unguarded", c)
	}
}

// TestRepliesGoWhereThePacketCameFrom: identifiers count in each queue of its own.
func TestRepliesGoWhereThePacketCameFrom(t *testing.T) {
	r := entryRig(t, nil)
	defer func() { _ = errors.Join(r.Stop(), r.Close()) }()
	seen := map[uint32]uint8{}
	w := r.workers[0]
	w.queue = &replyQueue{fakeQueue: r.queues[0], seen: seen}
	if err := w.handle(batch(nfq.Packet{Of: ofConfirmed, Payload: udp(1, 1)}, nfq.Packet{Payload: udp(2, 1)}, nfq.Packet{Of: ofTranslated, Payload: udp(3, 1)})); err != nil {
		t.Fatal(err)
	}
	if seen[1] != ofConfirmed || seen[2] != 0 || seen[3] != ofTranslated {
		t.Errorf("replies by packet and queue: %v", seen)
	}
}

type replyQueue struct {
	*fakeQueue
	seen map[uint32]uint8
}

func (q *replyQueue) Reply(r *nfq.Reply) error {
	q.seen[r.ID] = r.Of
	return nil
}
