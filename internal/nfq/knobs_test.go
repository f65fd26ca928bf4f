package nfq_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestKnobs(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		t.Run("copy range", func(t *testing.T) {
			testKnob(t, backend, nfq.Config{CopyRange: 30}, func(t *testing.T, p nfq.Packet) {
				if len(p.Payload) != 30 || p.CapLen != 31 {
					t.Errorf("%d bytes of %d, want 30 of 31", len(p.Payload), p.CapLen)
				}
			})
		})
		t.Run("copy meta", func(t *testing.T) {
			testKnob(t, backend, nfq.Config{CopyMode: nfq.CopyMeta}, func(t *testing.T, p nfq.Packet) {
				if len(p.Payload) != 0 || p.OutDev != 1 {
					t.Errorf("%d bytes from device %d, want none from lo", len(p.Payload), p.OutDev)
				}
			})
		})
		t.Run("uid and gid", func(t *testing.T) {
			testKnob(t, backend, nfq.Config{UIDGID: true}, func(t *testing.T, p nfq.Packet) {
				uid, gid := outside(t, "uid", os.Getuid()), outside(t, "gid", os.Getgid())
				if !p.HasUID || !p.HasGID || p.UID != uid || p.GID != gid {
					t.Errorf("uid %d (%v), gid %d (%v), want %d and %d", p.UID, p.HasUID, p.GID, p.HasGID, uid, gid)
				}
			})
		})
		t.Run("gso", func(t *testing.T) {
			testKnob(t, backend, nfq.Config{GSO: true}, func(t *testing.T, p nfq.Packet) {
				if !p.ChecksumNotReady {
					t.Error("a packet over lo has its checksum computed, though GSO was set")
				}
			})
		})
		t.Run("no gso", func(t *testing.T) {
			testKnob(t, backend, nfq.Config{}, func(t *testing.T, p nfq.Packet) {
				if p.ChecksumNotReady || p.GSO {
					t.Error("checksum not ready, though GSO was not set")
				}
			})
		})
		t.Run("conntrack", func(t *testing.T) {
			testkit.Namespace(t)
			if q, err := nfq.Open(backend, nfq.Config{Conntrack: true}); err != nil {
				if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "NETFILTER_NETLINK_GLUE_CT") {
					t.Fatalf("%v; want a kernel that attaches conntrack, or a refusal that names what it lacks", err)
				}
				return
			} else if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			testKnob(t, backend, nfq.Config{Conntrack: true}, func(t *testing.T, p nfq.Packet) {
				if !p.HasCT || p.Confirmed() {
					t.Errorf("conntrack %v, confirmed %v: want an unconfirmed entry of a flow's first packet", p.HasCT, p.Confirmed())
				}
			})
		})
	})
}

// outside is an id of this user namespace as its parent knows it.
func outside(t *testing.T, kind string, id int) uint32 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/" + kind + "_map")
	if err != nil {
		t.Fatal(err)
	}
	var inner, outer, count int
	if _, err := fmt.Sscan(string(b), &inner, &outer, &count); err != nil {
		t.Fatal(err)
	}
	return uint32(id - inner + outer)
}

// testKnob sends one packet of 3 bytes through a queue.
func testKnob(t *testing.T, backend vocabulary.Backend, cfg nfq.Config, check func(*testing.T, nfq.Packet)) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := open(t, backend, cfg)
	rules(t, 1, nil)
	var seen atomic.Int32
	stop := run(t, q, func(p nfq.Packet) nfq.Reply {
		seen.Add(1)
		check(t, p)
		return nfq.Reply{Verdict: nfq.Accept}
	})
	s.send("hey")
	got := s.receive(1)
	stop()
	if seen.Load() != 1 || len(got) != 1 {
		t.Errorf("queue saw %d packets, %d arrived, want 1 and 1", seen.Load(), len(got))
	}
}
