package gate

import (
	"maps"
	"slices"
	"testing"
	"time"

	"verdictd/internal/packet"
)

// fuzzing drives a Table and the reference by the same steps.
type fuzzing struct {
	*testing.T
	table      *Table
	ref        reference
	next       uint32 // id
	waiting    map[uint32]bool
	came, left uint64
}

func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0x00, 1, 0x00, 1, 0x10, 2, 9, 3, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 || len(b) > 600 {
			return
		}
		cfg := Config{
			Drop: b[0]&1 != 0, Flows: 2 + int(b[0]>>1&7), FlowPackets: 1 + int(b[0]>>4),
			Bytes: int64(1+b[1]%16) * 700, Hold: 20 * time.Millisecond, HoldLimit: 100 * time.Millisecond, List: b[1]&0x80 != 0,
		}
		table, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		z := &fuzzing{
			T: t, table: table, waiting: map[uint32]bool{},
			ref: reference{cfg: cfg, flows: map[packet.Key]*refFlow{}, rulesChanged: -1 << 60},
		}
		table.ChainAdded(z.ref.rulesChanged)
		now, epoch := int64(time.Second), uint64(1)
		for b = b[2:]; len(b) >= 2; b = b[2:] {
			now++
			table.Begin(now, epoch)
			z.ref.begin(now, epoch)
			switch op, arg := b[0]%16, b[1]; op {
			case 12:
				now += int64(arg) * int64(time.Millisecond) / 8
			case 13:
				if len(z.ref.unresolved) < EpochsKept-2 {
					z.ref.unresolved = append(z.ref.unresolved, epoch)
					epoch = z.after(epoch)
				}
			default:
				z.step(op, arg, b[0]>>4)
			}
			z.compare()
		}
		table.Begin(now+1, epoch)
		z.ref.begin(now+1, epoch)
		if n := table.Drain(); n > 0 {
			z.ref.drain()
			z.compare()
		}
		if table.Held() != 0 || len(z.waiting) != 0 {
			t.Errorf("%d packets are held, %d have no verdict", table.Held(), len(z.waiting))
		}
	})
}

// after is the epoch after one, as Progress.Next numbers them. The reference takes
// those that are left out for resolved.
func (z *fuzzing) after(epoch uint64) uint64 {
	for next := epoch + 1; ; next++ {
		taken := func(e uint64) bool { return e%EpochsKept == next%EpochsKept }
		if !slices.ContainsFunc(z.ref.unresolved, taken) {
			return next
		}
	}
}

func (z *fuzzing) key(arg byte) packet.Key {
	k := key(arg & 7)
	if arg&8 != 0 {
		FlowKey(&k, 5)
	}
	return k
}

func (z *fuzzing) step(op, arg, more byte) {
	t, r := z.table, &z.ref
	k := z.key(arg)
	switch op {
	default: // packets are what there is most of
		z.packet(&Packet{
			Key: k, Print: uint32(arg >> 5), Bytes: uint32(more) * 100, Queue: uint16(arg >> 4 & 1),
			Announced: op == 6, Turned: arg&16 != 0,
		})
	case 5:
		for range 8 {
			z.packet(&Packet{Key: k, Print: uint32(arg >> 5), Bytes: uint32(more), Turned: arg&16 != 0})
		}
	case 7, 8:
		z.questions(arg)
	case 9:
		if len(z.ref.unresolved) > 0 {
			i := int(arg) % len(z.ref.unresolved)
			t.Resolve(z.ref.unresolved[i])
			r.resolve(z.ref.unresolved[i])
			z.ref.unresolved = slices.Delete(z.ref.unresolved, i, i+1)
		}
	case 10:
		t.Dropped(&k, uint32(arg>>5))
		if f := r.flows[k]; f != nil && f.first.Print == uint32(arg>>5) {
			r.lost(f)
		}
	case 11:
		if f := r.flows[k]; f != nil {
			t.Refused(t.find(&k), f.first.ID)
			r.lost(f)
		}
	case 14:
		looked := t.now - int64(arg/3%4)*clockStep/2
		t.Expire(Judge(arg%3), looked)
		r.expire(Judge(arg%3), looked)
	case 15:
		z.rare(arg)
	}
}

func (z *fuzzing) packet(p *Packet) {
	z.next++
	p.ID = z.next
	z.waiting[p.ID] = true
	z.came++
	z.table.Packet(p)
	z.ref.packet(*p)
}

func (z *fuzzing) rare(arg byte) {
	t, r := z.table, &z.ref
	switch arg % 8 {
	case 0:
		r.rulesChanged = r.now
		t.ChainAdded(r.now)
	case 1:
		t.Forget()
	case 2:
		r.try()
		t.Try()
	case 3:
		if i := int(arg / 8); i+1 < len(z.ref.unresolved) {
			epoch, earlier := z.ref.unresolved[i+1], z.ref.unresolved[i]
			t.Join(epoch, earlier)
			r.join(epoch, earlier)
			z.ref.unresolved = slices.Delete(z.ref.unresolved, i+1, i+2)
		}
	case 4:
		t.Moved(int(arg))
	case 5, 6:
		t.Darken(arg%8 == 5)
		r.darken(arg%8 == 5)
	default:
		t.Drain()
		r.drain()
	}
}

// questions answers what is due.
func (z *fuzzing) questions(arg byte) {
	q := make([]Question, 1+arg&3)
	for i, question := range q[:z.table.Questions(q)] {
		f := z.ref.flows[z.table.flows[question.Flow].key]
		if f == nil || len(f.held) == 0 && !z.ref.cfg.List {
			z.Fatalf("a question for a flow that holds nothing")
		}
		tuple, zone := Zone(&f.key)
		if f.first.Turned {
			turn(&tuple)
		}
		if question.Tuple != tuple || question.Zone != zone {
			z.Fatalf("question %x in zone %d, want %x in %d", question.Tuple, question.Zone, tuple, zone)
		}
		switch arg >> (2 + i) & 3 {
		case 0:
			z.table.Unanswered(question.Flow)
		default:
			z.table.Answer(question.Flow, arg>>(2+i)&1 == 0)
			z.ref.answer(f, arg>>(2+i)&1 == 0)
		}
	}
}

// compare takes the verdicts of a step, and looks at all that can be seen.
func (z *fuzzing) compare() {
	t, r := z.table, &z.ref
	got := slices.Clone(t.Verdicts)
	for i, v := range got {
		if !z.waiting[v.ID] {
			z.Fatalf("packet %d has two verdicts", v.ID)
		}
		delete(z.waiting, v.ID)
		z.left++
		got[i].First, got[i].Since = min(v.First, 0), 0
	}
	if !slices.Equal(got, r.out) {
		z.Fatalf("verdicts %+v, want %+v", got, r.out)
	}
	t.Verdicts = t.Verdicts[:0]
	z.listed()
	for k, f := range r.flows {
		i := t.find(&k)
		switch {
		case i == none && f.pending:
			z.Fatalf("a pending flow is forgotten")
		case i == none:
			delete(r.flows, k)
		case t.flows[i].pending != f.pending || int(t.flows[i].count) != len(f.held) || t.flows[i].several != f.several:
			z.Fatalf("flow %x is %+v, want %+v", k, t.flows[i], *f)
		}
	}
	packets, bytes := r.held()
	if t.Held() != packets || t.HeldBytes() != bytes || t.Flows() != len(r.flows) || len(z.waiting) != packets {
		z.Fatalf("%d packets of %d bytes, %d flows; want %d of %d, %d", t.Held(), t.HeldBytes(), t.Flows(), packets, bytes, len(r.flows))
	}
	pending := t.isDark() || slices.ContainsFunc(slices.Collect(maps.Values(r.flows)), func(f *refFlow) bool { return f.pending })
	if t.isDark() != r.isDark() {
		z.Fatalf("dark %v, want %v", t.isDark(), r.isDark())
	}
	if t.Pending() != pending && (pending || t.candidates.length == 0) || t.Counters.Received != z.came {
		z.Fatalf("pending %v, want %v; %d packets came, counted %+v", t.Pending(), pending, z.came, t.Counters)
	}
}

// listed looks at the flows that are handed over to be listed.
func (z *fuzzing) listed() {
	t, r := z.table, &z.ref
	for i := range t.Listed {
		f := r.flows[t.Listed[i].Tuple]
		switch {
		case f == nil:
			z.Fatalf("flow %x is listed, and not remembered", t.Listed[i].Tuple)
		case f.pending || r.now-f.seen < quiet || f.packets < listAfter || len(r.underWay(0, f.passed)) > 0 || r.now >= f.known:
			z.Fatalf("flow %+v is listed in epoch %d, unresolved ones are %d", *f, r.epoch, r.unresolved)
		}
		f.packets = 0
	}
	t.Listed = t.Listed[:0]
}
