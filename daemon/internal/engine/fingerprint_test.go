package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// sighting is what a queue saw of a packet.
type sighting struct {
	queue       int
	key         packet.Key
	fingerprint uint32
}

// TestFingerprintsAgree: a packet has the same key and fingerprint before conntrack, in
// a queue that brings its first bytes and has no checksum computed, and behind it, in one
// that brings all of it.
func TestFingerprintsAgree(t *testing.T) {
	ports := []byte{0x30, 0x39, 0x30, 0x3a, 0, 0, 0, 0}
	for name, test := range map[string]struct {
		to       string
		protocol int
		upper    []byte
	}{
		"udp4":      {"127.0.0.1", unix.IPPROTO_UDP, []byte("a question")},
		"udp6":      {"::1", unix.IPPROTO_UDP, []byte("a question")},
		"udp4 long": {"127.0.0.1", unix.IPPROTO_UDP, make([]byte, 3000)},
		"udp-lite":  {"127.0.0.1", unix.IPPROTO_UDPLITE, append(slices.Clone(ports[:7]), 1)},
		"gre":       {"127.0.0.1", unix.IPPROTO_GRE, []byte{0x30, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
		"echo":      {"127.0.0.1", unix.IPPROTO_ICMP, []byte{8, 0, 0xf7, 0xf8, 0, 7, 0, 0}},
		"echo6":     {"::1", unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 7, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Namespace(t)
			queues := []*nfq.Mmsg{
				queueAt(t, vocabulary.PlacementPreConntrack, nfq.Config{Queue: 0, GSO: true, CopyRange: 128}, test.protocol),
				queueAt(t, vocabulary.PlacementOutput, nfq.Config{Queue: 1}, test.protocol),
			}
			for n := range 3 {
				upper := slices.Clone(test.upper)
				upper[len(upper)-1] += byte(n)
				sendTo(t, netip.MustParseAddr(test.to), test.protocol, upper)
				seen := pass(t, queues)
				if len(seen) < 2 || !slices.ContainsFunc(seen, func(s sighting) bool { return s.queue == 1 }) {
					t.Fatalf("seen: %+v; want the packet in both queues", seen)
				}
				for _, s := range seen {
					if s.key != seen[0].key || s.fingerprint != seen[0].fingerprint {
						t.Errorf("packet %d: %+v differs from %+v", n, s, seen[0])
					}
				}
			}
		})
	}
}

func queueAt(t *testing.T, at vocabulary.Placement, cfg nfq.Config, protocol int) *nfq.Mmsg {
	t.Helper()
	q, err := nfq.OpenMmsg(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	_, err = ruleset.Install(ruleset.Config{
		Table: "queue-" + string(at), Placement: at, Fanout: vocabulary.FanoutBalance, FirstQueue: cfg.Queue, Queues: 1,
		IPv4: true, IPv6: true, Protocols: []uint8{uint8(protocol)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// sendTo sends a packet: UDP by a socket that leaves the checksum to the device, all
// others as they are.
func sendTo(t *testing.T, to netip.Addr, protocol int, upper []byte) {
	t.Helper()
	family, typ, port := unix.AF_INET, unix.SOCK_RAW, 0
	if protocol == unix.IPPROTO_UDP {
		typ, port = unix.SOCK_DGRAM, 9
	}
	var address unix.Sockaddr
	if to.Is4() {
		address = &unix.SockaddrInet4{Addr: to.As4(), Port: port}
	} else {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.As16(), Port: port}
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, upper, 0, address); err != nil {
		t.Fatal(err)
	}
}

// pass lets everything pass and returns what was seen of packets that are no answers.
func pass(t *testing.T, queues []*nfq.Mmsg) (seen []sighting) {
	t.Helper()
	for quiet := 0; quiet < 3; quiet++ {
		for i, q := range queues {
			b, err := q.Next(nil, 5*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range b.Packets {
				quiet = 0
				var v packet.View
				if err := v.Decode(p.Payload); err != nil {
					t.Fatalf("%x: %v", p.Payload, err)
				}
				s := sighting{queue: i, fingerprint: v.Fingerprint()}
				v.Key(&s.key)
				if !isAnswer(&s.key) {
					seen = append(seen, s)
				}
				if err := q.Reply(&nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: nfq.Accept}); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return seen
}

// isAnswer tells echo replies and errors, which this machine sends by itself.
func isAnswer(k *packet.Key) bool {
	icmp := k[1] == unix.IPPROTO_ICMP || k[1] == unix.IPPROTO_ICMPV6
	return icmp && k[38] != 8 && k[38] != 128 || binary.BigEndian.Uint16(k[36:]) == 9
}
