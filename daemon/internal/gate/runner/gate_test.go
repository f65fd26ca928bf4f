package runner_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const gateQueue = 61440

// open starts a gate in the namespace, with rules for UDP.
func open(t *testing.T, ns *netlab.NetNS, change func(*runner.Config)) (*runner.Gate, *ruleset.Installed) {
	t.Helper()
	cfg := runner.Config{
		Table: gate.Default(), FirstQueue: gateQueue, Queues: 1, ReceiveBuffer: 8 << 20,
		ChainAdded: func() int64 { return 0 }, Own: func(uint16) (uint32, bool) { return 0, false }, Notice: func(s string) { t.Log(s) },
	}
	if change != nil {
		change(&cfg)
	}
	var g *runner.Gate
	var rules *ruleset.Installed
	err := ns.Do(func() (err error) {
		if g, err = runner.Open(cfg); err != nil {
			return err
		}
		g.Start()
		rules, err = ruleset.Install(ruleset.Config{
			Table: "verdictd", Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true,
			Gate: &ruleset.Gate{
				FirstQueue: gateQueue, Queues: uint16(cfg.Queues), Settled: true, SettledSize: 1024, SettledTimeout: 15 * time.Second,
				Traffic: []ruleset.Traffic{{IPv4: true, IPv6: true, Protocols: []uint8{17}}},
			},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, rules
}

func command(t *testing.T, ns *netlab.NetNS, line string) string {
	t.Helper()
	f := strings.Fields(line)
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = exec.Command(f[0], f[1:]...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// slow serves a queue as a program does that knows nothing of a gate: one packet
// at a time, each after a delay.
func slow(t *testing.T, ns *netlab.NetNS, number uint16, delay time.Duration) {
	t.Helper()
	serve(t, ns, number, func(*nfq.Packet) nfq.Verdict { time.Sleep(delay); return nfq.Accept }, nil)
}

// serve has a queue's packets judged one at a time. What was dropped is told when the
// verdict has returned.
func serve(t *testing.T, ns *netlab.NetNS, number uint16, judge func(*nfq.Packet) nfq.Verdict, dropped func()) {
	t.Helper()
	var q nfq.Queue
	if err := ns.Do(func() (err error) {
		q, err = nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: number, Batch: 1, ReceiveBuffer: 8 << 20})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(func(b *nfq.Batch) error {
			for i := range b.Packets {
				v := judge(&b.Packets[i])
				if err := q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Queue: b.Packets[i].Queue, Verdict: v}); err != nil {
					return err
				}
				if err := q.Flush(); err != nil {
					return err
				}
				if v == nfq.Drop && dropped != nil {
					dropped()
				}
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		_ = q.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = q.Close()
	})
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// burst sends flows of 4 packets each over lo and returns what arrived in order.
func burst(t *testing.T, ns *netlab.NetNS, flows int) (arrived, reordered int) {
	t.Helper()
	err := ns.Do(func() error {
		in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:5300")))
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		received := make(chan struct{})
		go func() {
			defer close(received)
			arrived, reordered = receive(in, 4*flows)
		}()
		for f := range flows {
			out, err := net.DialUDP("udp", nil, in.LocalAddr().(*net.UDPAddr))
			if err != nil {
				return err
			}
			for i := range 4 {
				if _, err := fmt.Fprintf(out, "%d %d", f, i); err != nil {
					return err
				}
			}
			_ = out.Close()
		}
		<-received
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return arrived, reordered
}

// receive takes up to n packets, until it was quiet for some seconds, as on a busy machine.
func receive(in *net.UDPConn, n int) (arrived, reordered int) {
	last := map[int]int{}
	b := make([]byte, 100)
	for arrived < n {
		_ = in.SetReadDeadline(time.Now().Add(5 * time.Second))
		k, err := in.Read(b)
		if err != nil {
			break
		}
		var f, i int
		_, _ = fmt.Sscan(string(b[:k]), &f, &i)
		if i != last[f] {
			reordered++
		}
		last[f] = i + 1
		arrived++
	}
	return arrived, reordered
}

func clashes(t *testing.T, ns *netlab.NetNS) (n int) {
	for f := range strings.FieldsSeq(command(t, ns, "conntrack -S")) {
		var v int
		for _, name := range []string{"clash_resolve=", "insert_failed=", "drop="} {
			if s, ok := strings.CutPrefix(f, name); ok {
				_, _ = fmt.Sscan(s, &v)
				n += v
			}
		}
	}
	return n
}

func TestForeignProgramBehindTheGate(t *testing.T) {
	for _, mode := range []string{"off", "hold"} {
		t.Run(mode, func(t *testing.T) {
			ns := testkit.Namespace(t)
			command(t, ns, "iptables -t mangle -A OUTPUT -p udp -m conntrack ! --ctstate INVALID -j NFQUEUE --queue-num 5")
			slow(t, ns, 5, 300*time.Microsecond)
			var g *runner.Gate
			var rules *ruleset.Installed
			if mode == "hold" {
				g, rules = open(t, ns, nil)
			}
			began := time.Now()
			arrived, reordered := burst(t, ns, 100)
			t.Logf("%d arrived, %d reordered, %d clashes in %v", arrived, reordered, clashes(t, ns), time.Since(began))
			if mode == "hold" {
				_ = ns.Do(rules.Detach)
				if err := g.Stop(); err != nil {
					t.Error(err)
				}
				_, total := g.Results()
				t.Logf("%+v", total)
				if n := clashes(t, ns); n != 0 || arrived != 400 || reordered != 0 {
					t.Errorf("%d clashes, %d arrived, %d reordered", n, arrived, reordered)
				}
				_ = ns.Do(rules.Remove)
				_ = g.Close()
			}
		})
	}
}
