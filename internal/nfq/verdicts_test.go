package nfq

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"verdictd/internal/nfnl"
)

// fakeKernel holds queued packets and takes verdict messages as the kernel does.
type fakeKernel struct {
	queues map[uint16][]uint32 // ids, ascending
	judged map[string]judged
}

// judged is what became of a packet.
type judged struct {
	verdict Verdict
	marked  bool
	mark    uint32
}

func name(queue uint16, id uint32) string { return fmt.Sprintf("%d/%d", queue, id) }

// apply carries out messages; it fails on what the kernel would refuse.
func (k *fakeKernel) apply(t *testing.T, b []byte) (batches int) {
	t.Helper()
	for len(b) > 0 {
		m, rest, ok := nfnl.Next(b)
		if !ok {
			t.Fatalf("no message: %x", b)
		}
		b = rest
		queue, _ := m.Resource()
		attrs := m.Attributes()
		typ, data, _ := attrs.Next()
		if typ != nfqaVerdictHdr {
			t.Fatalf("attribute %d is first", typ)
		}
		is, id := judged{verdict: Verdict(be32(data))}, be32(data[4:])
		if typ, data, ok := attrs.Next(); ok && typ == nfqaMark {
			is.marked, is.mark = true, be32(data)
		}
		held := k.queues[queue]
		switch m.Type {
		case typeVerdict:
			i := slices.Index(held, id)
			if i < 0 {
				t.Fatalf("a verdict on %s, which is not there", name(queue, id))
			}
			k.judged[name(queue, id)] = is
			k.queues[queue] = slices.Delete(held, i, i+1)
		case typeVerdictBatch:
			batches++
			for len(held) > 0 && int32(held[0]-id) <= 0 {
				k.judged[name(queue, held[0])] = is
				held = held[1:]
			}
			k.queues[queue] = held
		}
	}
	return batches
}

// flush carries out all that is to be sent, in as many sends as it takes.
func (k *fakeKernel) flush(t *testing.T, v *verdicts) (batches int) {
	t.Helper()
	for !v.empty() {
		before := len(k.judged)
		batches += k.apply(t, v.take())
		if n := len(k.judged) - before; n < 1 || n > v.most {
			t.Fatalf("one send has %d verdicts, %d are the most", n, v.most)
		}
	}
	return batches
}

// TestVerdictsModel: whatever is answered in whatever order, held or not, each packet
// gets its own verdict, at the flush behind its reply and not before.
func TestVerdictsModel(t *testing.T) {
	batches := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		numbers := []uint16{7, 9, 3}[:1+random.IntN(3)]
		v := newVerdicts(numbers)
		v.most = 1 + random.IntN(30)
		k := &fakeKernel{map[uint16][]uint32{}, map[string]judged{}}
		next := make([]uint32, len(numbers))
		for i := range next {
			next[i] = -uint32(random.IntN(40)) // so that ids begin again
		}
		want := map[string]judged{}
		var waiting []Reply
		for range 40 {
			for range random.IntN(12) {
				of := random.IntN(len(numbers))
				next[of]++
				k.queues[numbers[of]] = append(k.queues[numbers[of]], next[of])
				v.received(numbers[of])
				waiting = append(waiting, Reply{ID: next[of], Queue: numbers[of]})
			}
			if random.IntN(2) == 0 { // out of their order
				random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
			}
			uniform, verdict, mark := random.IntN(3) > 0, Verdict(random.IntN(2)), random.IntN(3)
			runs := random.IntN(2) == 0 // not of single packets
			answered := len(waiting)
			if random.IntN(3) == 0 { // the rest is held
				answered = random.IntN(len(waiting) + 1)
			}
			for _, r := range waiting[:answered] {
				if !uniform && (!runs || random.IntN(5) == 0) {
					verdict = Verdict(random.IntN(2))
				}
				r.Verdict = verdict
				r.SetMark, r.Mark = mark > 0, uint32(mark)
				if random.IntN(50) == 0 {
					r.SetMark, r.Mark = !r.SetMark, 1
				}
				if err := v.add(&r); err != nil {
					t.Fatal(err)
				}
				want[name(r.Queue, r.ID)] = judged{r.Verdict, r.SetMark, map[bool]uint32{true: r.Mark}[r.SetMark]}
			}
			waiting = waiting[answered:]
			batches += k.flush(t, &v)
			if !maps.Equal(k.judged, want) {
				t.Fatalf("seed %d: judged %v\nwant %v", seed, k.judged, want)
			}
		}
	}
	if batches < 2000 {
		t.Errorf("only %d batch verdicts were tried", batches)
	}
}

// TestHighestID: the batch verdict names the highest id, not the last one.
func TestHighestID(t *testing.T) {
	for _, ids := range [][]uint32{{1, 2, 3}, {3, 1, 2}, {2, 3, 1}, {1<<32 - 1, 0, 1}, {1, 0, 1<<32 - 1}} {
		v := newVerdicts([]uint16{0})
		for i, id := range ids {
			v.received(0)
			if err := v.add(&Reply{ID: id, Verdict: Accept, Tag: uint32(10 + i)}); err != nil {
				t.Fatal(err)
			}
		}
		m, rest, ok := nfnl.Next(v.take())
		if !ok || m.Type != typeVerdictBatch || len(rest) != 0 {
			t.Fatalf("%d: %+v", ids, m)
		}
		highest := slices.MaxFunc(ids, func(a, b uint32) int { return int(int32(a - b)) })
		if id, ok := verdictID(m.Attributes()); !ok || id != highest || m.Seq != uint32(10+slices.Index(ids, id)) {
			t.Errorf("%d: up to %d with tag %d", ids, id, m.Seq)
		}
	}
}

// TestUnknownPacketEndsBatches: a packet that cannot be named must not be swept up.
func TestUnknownPacketEndsBatches(t *testing.T) {
	v := newVerdicts([]uint16{0})
	v.unknown = true
	for id := range uint32(3) {
		v.received(0)
		if err := v.add(&Reply{ID: id, Verdict: Accept}); err != nil {
			t.Fatal(err)
		}
	}
	if m, rest, ok := nfnl.Next(v.take()); !ok || m.Type != typeVerdict || len(rest) == 0 {
		t.Errorf("%+v, %d bytes behind it", m, len(rest))
	}
}

// TestRuns: each run of a batch is a message, and so is each reply that changes a packet.
func TestRuns(t *testing.T) {
	v := newVerdicts([]uint16{0})
	for id := range uint32(64) {
		v.received(0)
		r := Reply{ID: id, Verdict: Accept}
		if id == 20 || id == 21 || id == 40 {
			r.Verdict = Drop
		}
		if id == 50 {
			r.Payload = []byte{1}
		}
		if err := v.add(&r); err != nil {
			t.Fatal(err)
		}
	}
	messages := 0
	for !v.empty() {
		for rest := v.take(); len(rest) > 0; messages++ {
			_, rest, _ = nfnl.Next(rest)
		}
	}
	if messages != 7 {
		t.Errorf("%d messages, want 7", messages)
	}
}
