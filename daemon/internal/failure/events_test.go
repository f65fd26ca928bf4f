package failure

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// These tests play the events of docs/failure.md with the program that people run.

// site is a namespace whose UDP is judged, and a socket that sends to itself there.
type site struct {
	t      *testing.T
	ns     *netlab.NetNS
	c      *net.UDPConn
	config string
	file   string // with the configuration, of a daemon below a keeper
}

// eachChoice plays an event under both choices, with more configuration.
func eachChoice(t *testing.T, config string, f func(t *testing.T, s *site, accept bool)) {
	t.Helper()
	for _, choice := range []string{"accept", "drop"} {
		t.Run(choice, func(t *testing.T) {
			s := &site{t: t, ns: testkit.Namespace(t), config: "on_failure: " + choice + "\nguard: {mode: 'off'}\n" + config}
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			s.c = c
			f(t, s, choice == "accept")
		})
	}
}

// send sends so many packets. The kernel may tell that one was dropped.
func (s *site) send(n int) {
	for i := range n {
		_, _ = s.c.WriteTo(fmt.Append(nil, i), s.c.LocalAddr())
	}
}

// arrive counts what arrives until so many have, or for a while.
func (s *site) arrive(most int) (n int) {
	b := make([]byte, 100)
	for n < most {
		_ = s.c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := s.c.Read(b); err != nil {
			return n
		}
		n++
	}
	return n
}

// none checks that nothing arrives.
func (s *site) none(when string) {
	s.t.Helper()
	_ = s.c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := s.c.Read(make([]byte, 100)); err == nil {
		s.t.Errorf("%s: a packet of %d bytes arrived", when, n)
	}
}

// passes checks whether a packet that is sent now arrives.
func (s *site) passes(when string, want bool) {
	s.t.Helper()
	s.send(1)
	if !want {
		s.none(when)
	} else if s.arrive(1) != 1 {
		s.t.Errorf("%s: a packet does not arrive", when)
	}
}

// queued waits until so many packets are in the queue.
func (s *site) queued(n uint32) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		queues, err := nfq.ReadKernelQueues()
		if err != nil {
			s.t.Fatal(err)
		}
		if len(queues) == 1 && queues[0].Queued == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("queues %+v, want %d packets", queues, n)
		}
	}
}

// unbound waits until there is no queue any more.
func (s *site) unbound() {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		queues, err := nfq.ReadKernelQueues()
		if err != nil {
			s.t.Fatal(err)
		}
		if len(queues) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("still bound: %+v", queues)
		}
	}
}

// slow has packets wait long enough to be met by an event.
const slow = "analysis: {distribution: fixed, delay: 1m}"

// TestStop: what waits is judged, and later packets pass.
func TestStop(t *testing.T) {
	eachChoice(t, "analysis: {distribution: fixed, delay: 2ms}", func(t *testing.T, s *site, _ bool) {
		d := childtest.Daemon(t, s.ns, s.config)
		s.send(50)
		d.Stop()
		if n := s.arrive(50); n != 50 {
			t.Errorf("%d of 50 packets were judged", n)
		}
		s.passes("after the stop", true)
	})
}

// TestCrashWithoutKeeper: the kernel drops what waits; later packets meet the rules, which the choice has made.
func TestCrashWithoutKeeper(t *testing.T) {
	eachChoice(t, slow, func(t *testing.T, s *site, accept bool) {
		d := childtest.Daemon(t, s.ns, s.config)
		s.send(3)
		s.queued(3)
		d.Kill()
		s.none("after the crash")
		s.passes("while nobody judges", accept)
	})
}

// TestQueueFull: the kernel drops what finds no room, unless fail_open says otherwise.
func TestQueueFull(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("fail_open %v", open), func(t *testing.T) {
			eachChoice(t, fmt.Sprintf("%s\nqueues: {max_length: 2, fail_open: %v}", slow, open), func(t *testing.T, s *site, _ bool) {
				childtest.Daemon(t, s.ns, s.config)
				s.send(2)
				s.queued(2)
				s.passes("with the queue full", open)
			})
		})
	}
}

// TestSocketBufferFull: a daemon that does not read has packets wait in its socket, and loses what has no room there.
func TestSocketBufferFull(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("fail_open %v", open), func(t *testing.T) {
			eachChoice(t, fmt.Sprintf("%s\nqueues: {receive_buffer: 4096, fail_open: %v}", slow, open), func(t *testing.T, s *site, _ bool) {
				d := childtest.Daemon(t, s.ns, s.config)
				d.Signal(unix.SIGSTOP)
				const sent = 100
				s.send(sent)
				queues, err := nfq.ReadKernelQueues()
				if err != nil || len(queues) != 1 {
					t.Fatalf("queues %+v (%v)", queues, err)
				}
				waits := int(queues[0].Queued)
				if waits == 0 || waits == sent {
					t.Fatalf("%d of %d packets wait: the buffer is not what this test takes it for", waits, sent)
				}
				arrived := 0
				if open {
					arrived = s.arrive(sent - waits)
				}
				s.none("beyond the buffer")
				if lost := int(queues[0].UserDropped); arrived+waits+lost != sent || (lost == 0) != open {
					t.Errorf("%d wait, %d arrived, %d are counted as lost: not %d in all", waits, arrived, lost, sent)
				}
			})
		})
	}
}

// TestRulesRemoved: what waits goes with the table's base chains; packets pass until the rules are back.
func TestRulesRemoved(t *testing.T) {
	eachChoice(t, slow, func(t *testing.T, s *site, _ bool) {
		// With a guard, as only then rules are watched.
		s.config = strings.Replace(s.config, "'off'", "hold", 1)
		childtest.Daemon(t, s.ns, s.config)
		s.send(3)
		if err := ruleset.Remove("verdictd"); err != nil {
			t.Fatal(err)
		}
		s.none("after the rules went")
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			there, err := ruleset.Exists("verdictd")
			if err != nil {
				t.Fatal(err)
			}
			if there {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the rules are not put back")
			}
		}
	})
}

// TestKeeperKilled: the daemon stops in order, as nobody would start it once more.
func TestKeeperKilled(t *testing.T) {
	eachChoice(t, "analysis: {distribution: fixed, delay: 2ms}", func(t *testing.T, s *site, _ bool) {
		keeper := supervised(t, s)
		s.send(50)
		keeper.Kill()
		if n := s.arrive(50); n != 50 {
			t.Errorf("%d of 50 packets were judged", n)
		}
		gone(t)
		s.passes("after the stop", true)
	})
}

// supervised starts the daemon below a parent of its own.
func supervised(t *testing.T, s *site, flags ...string) *childtest.Child {
	t.Helper()
	s.file = childtest.ConfigFile(t, s.config, t.TempDir()+"/statistics.json")
	// A parent that is killed leaves its folder.
	dir, err := os.MkdirTemp("", "n") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	args := append(append([]string{"supervise"}, flags...), "--", "run", "--config", s.file)
	cmd := childtest.Program(t, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	return childtest.Ready(t, s.ns, cmd)
}

// gone waits until the daemon's table is.
func gone(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		there, err := ruleset.Exists("verdictd")
		if err != nil {
			t.Fatal(err)
		}
		if !there {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the rules are still there")
		}
	}
}
