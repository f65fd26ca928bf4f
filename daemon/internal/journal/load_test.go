package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/ct"
	"verdictd/internal/netlab"
)

// load sends packets over lo through the daemon's queue, paced, and looks at what comes.
type load struct {
	t        *testing.T
	ns       *netlab.NetNS
	in, away *net.UDPConn
	out      []*net.UDPConn
	stop     atomic.Bool
	group    sync.WaitGroup

	sent, got, unjudged atomic.Int64
	refused             int
	twice, overtaken    int
	last                map[string]uint32
	clashing            bool // packets may clash, as nothing guards them
	moves               int  // so many packets may be overtaken

	moving sync.Mutex
	moved  []uint32 // the last packets before and behind each time in which flows met another queue
}

// listen binds a port of lo.
func listen(t *testing.T, ns *netlab.NetNS, port int) (c *net.UDPConn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	childtest.Roomy(t, c)
	return c
}

// begin sends so many packets a second. With fresh each flow has only a few packets, sent
// at once; else there are a few flows that go on.
func begin(t *testing.T, ns *netlab.NetNS, rate int, fresh bool) *load {
	t.Helper()
	l := &load{t: t, ns: ns, in: listen(t, ns, port), away: listen(t, ns, forbidden), last: map[string]uint32{}}
	l.group.Go(l.receive)
	l.group.Go(func() {
		b := make([]byte, 100)
		for {
			if _, err := l.away.Read(b); err != nil {
				return
			}
			l.unjudged.Add(1)
		}
	})
	l.group.Go(func() {
		if err := ns.Do(func() error { return l.send(rate, fresh) }); err != nil {
			t.Error(err)
		}
	})
	return l
}

const (
	burst = 4 // packets that are sent together
	// underWay are the most that have not come: a machine that is too slow for the rate would have ever more waiting.
	underWay = 20_000
)

func (l *load) send(rate int, fresh bool) error {
	var socket, away *net.UDPConn
	var err error
	dial := func(port int) (c *net.UDPConn) {
		if err == nil {
			c, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		}
		return c
	}
	const flows = 8
	for range flows {
		l.out = append(l.out, dial(port))
	}
	away = dial(forbidden)
	b := make([]byte, 8)
	began := time.Now()
	for turn := 0; err == nil && !l.stop.Load(); turn++ {
		socket = l.out[turn%flows]
		if fresh {
			_ = socket.Close()
			socket = dial(port)
			l.out[turn%flows] = socket
		}
		for range burst {
			binary.BigEndian.PutUint32(b, uint32(l.sent.Add(1)))
			if _, err := socket.Write(b); err != nil {
				l.refused++
			}
		}
		if turn%10 == 0 {
			_, _ = away.Write(b)
		}
		if ahead := time.Duration(l.sent.Load())*time.Second/time.Duration(rate) - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
		for l.sent.Load()-l.got.Load() > underWay && !l.stop.Load() {
			time.Sleep(time.Millisecond)
		}
	}
	for _, c := range l.out {
		_ = c.Close()
	}
	return errors.Join(err, away.Close())
}

func (l *load) receive() {
	b := make([]byte, 100)
	seen := map[uint32]bool{}
	for {
		_, from, err := l.in.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		n := binary.BigEndian.Uint32(b)
		key := from.String()
		if seen[n] {
			l.twice++
			continue
		}
		seen[n] = true
		l.got.Add(1)
		if n < l.last[key] && l.period(n) == l.period(l.last[key]) {
			l.overtaken++
		}
		l.last[key] = n
	}
}

// move calls f, in which flows meet another queue: what is sent before and meanwhile may come behind what is sent
// later.
func (l *load) move(f func()) {
	l.boundary()
	f()
	l.boundary()
}

func (l *load) boundary() {
	l.moving.Lock()
	defer l.moving.Unlock()
	l.moved = append(l.moved, uint32(l.sent.Load()))
}

// period tells packets apart between which flows have met another queue. Each packet that is sent during a move has
// one of its own.
func (l *load) period(n uint32) int {
	l.moving.Lock()
	defer l.moving.Unlock()
	i, _ := slices.BinarySearch(l.moved, n)
	if i%2 == 1 {
		return -int(n)
	}
	return i
}

// finish ends the load and returns what went wrong, in words; empty: nothing.
func (l *load) finish() string {
	l.t.Helper()
	l.stop.Store(true)
	// What is on its way comes within this time, on a busy machine, too.
	for until, got := time.Now().Add(30*time.Second), -1; time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		queued := l.queued()
		if queued == 0 && got == 0 {
			break
		}
		got = queued
	}
	_ = l.in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_ = l.away.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	l.group.Wait()
	clashes, overflowed := l.clashes(), childtest.Overflowed(l.t, l.in)
	l.t.Logf("%d sent, %d refused, %d got, %d not read in time, %d twice, %d overtaken, %d unjudged, %d clashes",
		l.sent.Load(), l.refused, l.got.Load(), overflowed, l.twice, l.overtaken, l.unjudged.Load(), clashes)
	var words []string
	if l.clashing {
		clashes = 0
	}
	for what, n := range map[string]int{
		"lost": int(l.sent.Load()-l.got.Load()) - overflowed, "twice": l.twice, "overtaken": max(0, l.overtaken-l.moves), "unjudged": int(l.unjudged.Load()), "clashes": int(clashes),
	} {
		if n != 0 {
			words = append(words, fmt.Sprintf("%d %s", n, what))
		}
	}
	return strings.Join(words, ", ")
}

func (l *load) clashes() (n uint64) {
	l.t.Helper()
	if err := l.ns.Do(func() error {
		c, err := ct.Dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		s, err := c.Snapshot()
		if err != nil {
			return err
		}
		n = s.Total().Clashes().N
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	return n
}
