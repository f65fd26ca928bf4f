package runner_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

// queueRule has UDP go to a foreign program's queue, behind conntrack's lookup.
const queueRule = "iptables -t mangle -A OUTPUT -p udp -m conntrack ! --ctstate INVALID -j NFQUEUE --queue-num 5"

// end stops a gate and removes its rules.
func end(t *testing.T, ns *netlab.NetNS, g *runner.Gate, rules *ruleset.Installed) ([]statistics.GateThread, statistics.GateThread) {
	t.Helper()
	if err := ns.Do(rules.Detach); err != nil {
		t.Error(err)
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	queues, total := g.Results()
	if err := ns.Do(rules.Remove); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	return queues, total
}

// udp is a socket that is bound to one address and connected to another.
func udp(t *testing.T, ns *netlab.NetNS, from, to string) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c *net.UDPConn, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Error(err)
		}
	}
}

// patience is for what must come, on a busy machine.
const patience = 20 * time.Second

// await waits until something is so.
func await(is func() bool) bool {
	for until := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			return false
		}
	}
	return true
}

// patiently has a gate hold packets for longer than anything takes on a busy machine.
func patiently(c *runner.Config) { c.Table.Hold, c.Table.HoldLimit = patience, 2*patience }

// want receives these payloads in order.
func want(t *testing.T, c *net.UDPConn, payloads ...string) {
	t.Helper()
	b := make([]byte, 100)
	for _, p := range payloads {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(b)
		if err != nil {
			t.Errorf("waiting for %q: %v", p, err)
			return
		}
		if string(b[:n]) != p {
			t.Errorf("received %q, want %q", b[:n], p)
		}
	}
}

// TestWorkersSeeBothDirections: flows that begin at both ends at once, through a gate
// of four threads. The two directions come to the same one, or they would clash.
func TestWorkersSeeBothDirections(t *testing.T) {
	ns := testkit.Namespace(t)
	command(t, ns, queueRule)
	slow(t, ns, 5, 300*time.Microsecond)
	g, rules := open(t, ns, func(c *runner.Config) { c.Queues = 4; patiently(c) })
	const flows = 40
	sent := []string{"1", "2", "3"}
	var group sync.WaitGroup
	for i := range flows {
		a, b := fmt.Sprintf("127.0.0.%d:%d", 1+i%16, 6000+i), fmt.Sprintf("127.0.1.%d:%d", 1+i%11, 7000+i)
		left, right := udp(t, ns, a, b), udp(t, ns, b, a)
		for _, c := range []*net.UDPConn{left, right} {
			group.Go(func() {
				write(t, c, sent...)
				want(t, c, sent...)
			})
		}
	}
	group.Wait()
	n := clashes(t, ns)
	queues, total := end(t, ns, g, rules)
	if n != 0 || total.Received != 2*3*flows || total.Held == 0 || total.Expired+total.Unguarded != 0 {
		t.Errorf("%d clashes; %+v", n, total)
	}
	busy := 0
	for _, q := range queues {
		if q.Received > 0 {
			busy++
		}
	}
	if busy < 3 {
		t.Errorf("%d of 4 threads had packets", busy)
	}
}

// TestBaseChainDeleted: with a base chain, anybody's, the kernel drops what waits in
// any queue, what is held as well as the first packet before it. The verdicts on it
// are refused, and later packets of the flow do not wait for any of it.
func TestBaseChainDeleted(t *testing.T) {
	ns := testkit.Namespace(t)
	command(t, ns, queueRule)
	deleted := make(chan struct{})
	serve(t, ns, 5, func(*nfq.Packet) nfq.Verdict { <-deleted; return nfq.Accept }, nil)
	other := &nftables.Table{Family: nftables.TableFamilyINet, Name: "other"}
	if err := ns.Do(func() error {
		conn := &nftables.Conn{}
		conn.AddTable(other)
		conn.AddChain(&nftables.Chain{Table: other, Name: "c", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
		return conn.Flush()
	}); err != nil {
		t.Fatal(err)
	}
	g, rules := open(t, ns, patiently)
	in, out := udp(t, ns, "127.0.0.1:5300", "127.0.0.1:5301"), udp(t, ns, "127.0.0.1:5301", "127.0.0.1:5300")
	write(t, out, "1", "2", "3", "4")
	if !await(func() bool { return g.Held() == 3 }) {
		t.Errorf("%d packets are held, want 3", g.Held())
	}
	err := ns.Do(func() error {
		conn := &nftables.Conn{}
		conn.DelTable(other)
		return conn.Flush()
	})
	close(deleted)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	write(t, out, "5", "6")
	want(t, in, "5", "6")
	if took := time.Since(began); took > patience/2 {
		t.Errorf("packets waited %v for others that the kernel had dropped", took)
	}
	n := clashes(t, ns)
	if _, total := end(t, ns, g, rules); n != 0 || total.Vanished == 0 || total.VerdictErrors == 0 || total.Expired+total.Unguarded != 0 {
		t.Errorf("%d clashes; %+v", n, total)
	}
}

// TestEngineTellsOfDrops: the verdict engine of the same process drops a flow's first
// packets, and says so. The next one is let go at once.
func TestEngineTellsOfDrops(t *testing.T) {
	for name, told := range map[string]func(fingerprint uint32) uint32{
		"of the packet":   func(f uint32) uint32 { return f },
		"of another one":  func(f uint32) uint32 { return f + 1 },
		"says nothing":    nil,
		"of another flow": func(f uint32) uint32 { return f },
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			command(t, ns, queueRule)
			g, rules := open(t, ns, func(c *runner.Config) {
				patiently(c)
				c.Own = func(queue uint16) (uint32, bool) { return 0, queue == 5 }
			})
			hints := g.Hints()
			if hints.Wanted() {
				t.Error("hints are wanted though nothing is held")
			}
			var view packet.View
			others := 4
			serve(t, ns, 5, func(p *nfq.Packet) nfq.Verdict {
				others--
				if !await(func() bool { return g.Held() == others }) {
					t.Errorf("%d packets are held, want %d", g.Held(), others)
				}
				if err := view.Decode(p.Payload); err != nil || len(p.Payload) > 100 {
					return nfq.Accept
				}
				if !hints.Wanted() {
					t.Error("no hints are wanted though packets are held")
				}
				return nfq.Drop
			}, func() {
				var k packet.Key
				view.Key(&k)
				if name == "of another flow" {
					k[len(k)-1]++
				}
				if told != nil {
					hints.Dropped(&k, told(view.Fingerprint()))
				}
				hints.Returned(1)
			})
			in, out := udp(t, ns, "127.0.0.1:5300", "127.0.0.1:5301"), udp(t, ns, "127.0.0.1:5301", "127.0.0.1:5300")
			long := strings.Repeat("long", 30)[:100]
			write(t, out, "1", "2", "3", long)
			want(t, in, long)
			n := clashes(t, ns)
			if _, total := end(t, ns, g, rules); n != 0 || total.Gone != 3 || total.Held != 3 || total.Expired+total.Unguarded != 0 {
				t.Errorf("%d clashes; %+v; want each of three to be known to be gone", n, total)
			}
		})
	}
}

// TestSettledSetIsFull: it is said once, and further flows pass through the gate.
func TestSettledSetIsFull(t *testing.T) {
	ns := testkit.Namespace(t)
	var mutex sync.Mutex
	var notices []string
	g, rules := open(t, ns, func(c *runner.Config) {
		c.Table.List = true
		c.Notice = func(s string) {
			mutex.Lock()
			defer mutex.Unlock()
			notices = append(notices, s)
		}
	})
	g.SetSettled(tiny{rules.Settled()})
	const flows = 5
	for i := range flows {
		a, b := fmt.Sprintf("127.0.0.1:%d", 6000+i), fmt.Sprintf("127.0.0.1:%d", 7000+i)
		in, out := udp(t, ns, b, a), udp(t, ns, a, b)
		for range 5 {
			write(t, out, "1", "2", "3", "4")
			want(t, in, "1", "2", "3", "4")
		}
		time.Sleep(100 * time.Millisecond)
		write(t, out, "5")
		want(t, in, "5")
	}
	_, total := end(t, ns, g, rules)
	mutex.Lock()
	defer mutex.Unlock()
	if len(notices) != 1 || !strings.Contains(notices[0], "settled_size") {
		t.Errorf("notices %q, want one that names the setting", notices)
	}
	if total.ListFailed == 0 || total.Received != 21*flows {
		t.Errorf("%+v; want flows to pass through the gate", total)
	}
}

// tiny is a settled set without room.
type tiny struct{ *ruleset.Settled }

func (tiny) Add([]packet.Key) error { return fmt.Errorf("tried: %w", ruleset.ErrFull) }

// TestOpenTwice: the error names the queue, and nothing stays open.
func TestOpenTwice(t *testing.T) {
	ns := testkit.Namespace(t)
	g, rules := open(t, ns, nil)
	cfg := runner.Config{FirstQueue: gateQueue, Queues: 1, Table: gate.Default(), Own: func(uint16) (uint32, bool) { return 0, false }, Notice: func(string) {}}
	before := descriptors(t)
	for range 3 {
		var inUse *nfq.InUseError
		if err := ns.Do(func() error { _, err := runner.Open(cfg); return err }); !errors.As(err, &inUse) || inUse.Queue != gateQueue {
			t.Errorf("%v, want an InUseError", err)
		}
	}
	if now := descriptors(t); now > before { // what others have just closed makes them fewer
		t.Errorf("%d descriptors are open, before %d", now, before)
	}
	end(t, ns, g, rules)
}
