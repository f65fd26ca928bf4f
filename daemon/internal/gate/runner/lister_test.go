package runner

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/daemon/internal/gate"
	"verdictd/internal/packet"
	"verdictd/internal/ruleset"
)

// set is a settled set that keeps what is put in, or refuses it.
type set struct {
	mutex        sync.Mutex
	flows        []packet.Key
	transactions int
	err          error
}

func (s *set) Add(flows []packet.Key) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.transactions++
	if s.err != nil {
		return fmt.Errorf("tried: %w", s.err)
	}
	s.flows = append(s.flows, flows...)
	return nil
}

func (s *set) refuse(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.err = err
}

func (s *set) state() (flows []packet.Key, transactions int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.flows), s.transactions
}

// listerBench is a lister at work with such a set.
type listerBench struct {
	t       *testing.T
	l       *lister
	set     *set
	listing atomic.Bool
	touched []atomic.Uint32
	mutex   sync.Mutex
	said    []string
}

func newListerBench(t *testing.T) *listerBench {
	t.Helper()
	l, err := newLister()
	if err != nil {
		t.Fatal(err)
	}
	b := &listerBench{t: t, l: l, set: &set{}, touched: make([]atomic.Uint32, 1<<13)}
	var s Settled = b.set
	l.settled.Store(&s)
	b.listing.Store(true)
	go l.run(&b.listing, func(s string) {
		b.mutex.Lock()
		defer b.mutex.Unlock()
		b.said = append(b.said, s)
	})
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func flowKeyOf(n int) (k packet.Key) {
	k[0], k[1] = byte(n), byte(n>>8)
	return k
}

// list hands flows over, as a worker does.
func (b *listerBench) list(first, last int) {
	b.t.Helper()
	for n := first; n <= last; n++ {
		if !b.l.flows.Push(gate.Listing{Tuple: flowKeyOf(n), Touches: &b.touched[n]}) {
			b.t.Fatalf("flow %d found no room", n)
		}
	}
	b.l.bell.ring()
}

// await returns when something is so.
func (b *listerBench) await(what string, is func() bool) {
	b.t.Helper()
	for until := time.Now().Add(5 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			b.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (b *listerBench) awaitListed(n int) (flows []packet.Key, transactions int) {
	b.t.Helper()
	b.await(fmt.Sprintf("%d are listed", n), func() bool { flows, _ := b.set.state(); return len(flows) >= n })
	return b.set.state()
}

func (b *listerBench) notices() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return slices.Clone(b.said)
}

func TestListerJoinsFlows(t *testing.T) {
	b := newListerBench(t)
	const flows = 3 * listTogether
	b.list(0, flows-1)
	got, transactions := b.awaitListed(flows)
	for i, k := range got {
		if k != flowKeyOf(i) {
			t.Fatalf("flow %d is % x", i, k[:4])
		}
	}
	if len(got) != flows || transactions > 6 {
		t.Errorf("%d flows in %d transactions, want %d in few", len(got), transactions, flows)
	}
	b.list(flows, flows)
	b.awaitListed(flows + 1)
}

// TestListerLeavesOutWhatGoesOn: a flow of which a packet came meanwhile.
func TestListerLeavesOutWhatGoesOn(t *testing.T) {
	b := newListerBench(t)
	b.l.paused.Store(true)
	b.list(1, 3)
	time.Sleep(10 * time.Millisecond)
	if got, _ := b.set.state(); len(got) != 0 {
		t.Errorf("%d flows were listed in a pause", len(got))
	}
	b.touched[2].Add(1)
	b.l.paused.Store(false)
	if got, _ := b.awaitListed(2); !slices.Equal(got, []packet.Key{flowKeyOf(1), flowKeyOf(3)}) {
		t.Errorf("%d flows are listed, want 1 and 3", len(got))
	}
}

// TestListerOfAFullSet: nothing is handed over for a while, and it is said once.
func TestListerOfAFullSet(t *testing.T) {
	b := newListerBench(t)
	b.set.refuse(ruleset.ErrFull)
	for range 2 {
		b.list(1, 1)
		b.await("listing pauses", func() bool { return !b.listing.Load() })
		b.await("listing goes on", b.listing.Load)
	}
	if n := b.l.failed.Load(); n != 2 {
		t.Errorf("%d flows failed, want 2", n)
	}
	if got := b.notices(); len(got) != 1 || !strings.Contains(got[0], "settled_size") {
		t.Errorf("notices %q, want one with the setting", got)
	}
}

// TestListerOfASetThatIsGone: each cause is said once.
func TestListerOfASetThatIsGone(t *testing.T) {
	b := newListerBench(t)
	for _, cause := range []string{"no such table", "no such table", "no right to"} {
		b.set.refuse(errors.New(cause))
		b.list(1, 1)
		b.await("listing pauses", func() bool { return !b.listing.Load() })
		b.await("listing goes on", b.listing.Load)
	}
	if got := b.notices(); len(got) != 2 || !strings.Contains(got[0], "no such table") || !strings.Contains(got[1], "no right to") {
		t.Errorf("notices %q, want one for each cause", got)
	}
}

// TestListerWithoutASet hands nothing to anybody, and keeps going.
func TestListerWithoutASet(t *testing.T) {
	b := newListerBench(t)
	b.l.settled.Store(nil)
	b.list(1, 1)
	time.Sleep(10 * time.Millisecond)
	var s Settled = b.set
	b.l.settled.Store(&s)
	b.list(2, 2)
	if got, _ := b.awaitListed(1); !slices.Equal(got, []packet.Key{flowKeyOf(2)}) {
		t.Errorf("%d flows are listed, want the one that came later", len(got))
	}
}
