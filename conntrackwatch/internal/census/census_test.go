package census

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
)

var epoch = time.Unix(1_000_000, 0)

// at is so many seconds after the beginning.
func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

func event(typ ct.EventType, id uint32) *ct.Event {
	return &ct.Event{
		Type: typ, Family: unix.AF_INET, ID: id,
		Orig: ct.Tuple{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"),
			Protocol: unix.IPPROTO_UDP, SrcPort: uint16(id), DstPort: 53},
	}
}

// settled is a census after its first reading of an empty table.
func settled(cfg Config) *Census {
	c := New(cfg)
	c.Begin()
	c.Settled()
	return c
}

func near(got, want float64) bool { return got >= want*0.98 && got <= want*1.02 }

func TestLifetimes(t *testing.T) {
	c := settled(Config{})
	for id := range uint32(100) {
		c.Event(event(ct.EventNew, id), at(0))
	}
	for id := range uint32(90) {
		c.Event(event(ct.EventDestroy, id), at(1+float64(id)))
	}
	c.Event(event(ct.EventDestroy, 7777), at(50)) // began before the watch
	s := c.Summary(10, at(200))
	udp := s.Lifetimes[unix.IPPROTO_UDP]
	if udp.Count != 90 || !near(udp.P50, 45) || !near(udp.P90, 81) || !near(udp.Max, 90) {
		t.Errorf("lifetimes %+v, want 90 of them from 1 to 90 s", udp)
	}
	if open := s.Open[unix.IPPROTO_UDP]; open.Count != 10 || open.P50 != 200 || open.Max != 200 {
		t.Errorf("open %+v, want 10 of an age of 200 s", open)
	}
	if s.OlderEnded != 1 || s.Exact != 0 || s.Untracked != 0 {
		t.Errorf("summary %+v, want one that ended without a beginning", s)
	}
}

func TestKernelsTimesAreExact(t *testing.T) {
	c := settled(Config{})
	e := event(ct.EventDestroy, 1)
	e.Has, e.Start, e.Stop = ct.HasStart|ct.HasStop, 5e9, 8e9
	c.Event(e, at(100))
	s := c.Summary(0, at(100))
	if udp := s.Lifetimes[unix.IPPROTO_UDP]; udp.Count != 1 || !near(udp.Max, 3) || s.Exact != 1 {
		t.Errorf("lifetimes %+v, %d exact; want one of 3 s", udp, s.Exact)
	}
	e.Start, e.Stop = 8e9, 5e9 // the clock was set back
	c.Event(e, at(100))
	if s := c.Summary(0, at(100)); s.Exact != 1 || s.OlderEnded != 1 {
		t.Errorf("an end before the beginning was taken for a lifetime: %+v", s)
	}
}

func TestFlowsAreBounded(t *testing.T) {
	c := settled(Config{Flows: 10})
	for id := range uint32(25) {
		c.Event(event(ct.EventNew, id), at(0))
	}
	if s := c.Summary(0, at(1)); s.Untracked != 15 || s.Open[unix.IPPROTO_UDP].Count != 10 {
		t.Errorf("%+v: want 10 flows followed, 15 not", s)
	}
}

// A flow of the same tuple is another one where the kernel's number differs.
func TestTuplesAreUsedAgain(t *testing.T) {
	c := settled(Config{})
	first, second := event(ct.EventNew, 1), event(ct.EventNew, 1)
	second.ID = 2
	c.Event(first, at(0))
	c.Event(second, at(1)) // the end of the first was lost
	second.Type = ct.EventDestroy
	c.Event(second, at(3))
	s := c.Summary(0, at(10))
	if udp := s.Lifetimes[unix.IPPROTO_UDP]; udp.Count != 1 || !near(udp.Max, 2) || s.Open[unix.IPPROTO_UDP].Count != 1 {
		t.Errorf("%+v: want a flow of 2 s, and one that is open", s)
	}
}

// TestCorrections loses events on purpose, and has the table tell of them.
func TestCorrections(t *testing.T) {
	c := New(Config{})
	c.Begin() // what is there before the watch is no correction
	c.Entry(event(ct.EventUpdate, 1000))
	c.Settled()
	for id := range uint32(10) {
		c.Event(event(ct.EventNew, id), at(0))
	}

	// Lost: the end of 0 to 3, the reply to 4, and the beginning of 20 to 22. While the table is read 5 ends, 30 begins
	// behind the reader, and 31 begins and is read before its event is received.
	c.Begin()
	c.Event(event(ct.EventNew, 30), at(1))
	for _, id := range []uint32{1000, 4, 5, 6, 7, 8, 9, 20, 21, 22, 31} {
		e := event(ct.EventUpdate, id)
		if id == 4 {
			e.Status = ct.StatusSeenReply
		}
		c.Entry(e)
	}
	c.Event(event(ct.EventDestroy, 5), at(1))
	c.Event(event(ct.EventNew, 31), at(1))
	c.Settled()

	s := c.Summary(0, at(2))
	if want := (Corrections{Readings: 1, New: 3, Update: 1, Destroy: 4}); s.Corrections != want {
		t.Errorf("corrections %+v, want %+v", s.Corrections, want)
	}
	if s.Older != 1 {
		t.Errorf("%d flows are older than the watch, want 1", s.Older)
	}
	if open := s.Open[unix.IPPROTO_UDP]; open.Count != 7 { // 4, 6 to 9, 30, 31; when the others began is not known
		t.Errorf("%d open, want 7", open.Count)
	}

	// A reading that a further loss has cut short counts nothing; what it found is counted with the next one.
	c.Begin()
	c.Entry(event(ct.EventUpdate, 40))
	c.Begin()
	for id := range c.flows {
		e := event(ct.EventUpdate, id.id)
		if id.id == 4 {
			e.Status = ct.StatusSeenReply
		}
		c.Entry(e)
	}
	c.Settled()
	if got, want := c.corrections, (Corrections{Readings: 2, New: 4, Update: 1, Destroy: 4}); got != want {
		t.Errorf("corrections %+v, want %+v", got, want)
	}
}

// TestTalkersAgainstCounting draws addresses with a few heavy ones among many: those have to be found, with counts that
// are wrong by no more than is said.
func TestTalkersAgainstCounting(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	found, exact := newTalkers(50), map[netip.Addr]uint64{}
	const flows = 100_000
	for range flows {
		n := random.IntN(10_000)
		if random.IntN(2) == 0 {
			n = random.IntN(5) // a tenth of all flows each
		}
		a := netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
		found.begin(a)
		exact[a]++
	}
	top := found.top(5)
	for i, talker := range top {
		if last := talker.Address.As4()[3]; last > 4 || talker.Address.As4()[2] != 0 {
			t.Errorf("place %d: %v is none of the five", i, talker.Address)
		}
		if n := exact[talker.Address]; talker.Flows < n || talker.Flows-talker.Overcount > n {
			t.Errorf("%v: %d flows, up to %d too many; there were %d", talker.Address, talker.Flows, talker.Overcount, n)
		}
	}
	var sum uint64
	for _, talker := range found.heap {
		sum += talker.Flows
	}
	if sum != flows || len(found.heap) != 50 || len(found.at) != 50 {
		t.Errorf("%d flows in %d places, %d in the index; want all %d in 50", sum, len(found.heap), len(found.at), flows)
	}
}

func TestTalkersCarry(t *testing.T) {
	c := settled(Config{})
	e := event(ct.EventNew, 1)
	c.Event(e, at(0))
	e.Type = ct.EventDestroy
	e.Orig.HasCounts, e.Orig.Packets, e.Orig.Bytes, e.Reply.Packets, e.Reply.Bytes = true, 3, 300, 1, 50
	c.Event(e, at(1))
	want := "[{192.0.2.1 1 0 4 350}]"
	if got := fmt.Sprint(c.Summary(5, at(1)).Talkers); got != want {
		t.Errorf("talkers %s, want %s", got, want)
	}
}
