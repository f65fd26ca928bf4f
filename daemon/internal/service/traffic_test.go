package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// The tests in this file send flows whose first packet is thought over while the
// others come: without a guard they clash, and with it they are held.

func TestLongDatagrams(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementPostrouting} {
		t.Run(string(placement), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, mode vocabulary.GuardMode, to netip.AddrPort) {
				r := newRig(t, mode, func(c *config.Config) { c.Rules.Placement = placement })
				in, out := r.listenRemote(to), r.dial(to)
				var sent []string
				for _, n := range []int{10, 4000, 1473, 30000} {
					sent = append(sent, strings.Repeat(fmt.Sprint(n%10), n))
				}
				write(t, out, sent...)
				want(t, in, sent...)
				r.done(1)
			})
		})
	}
}

// TestLongDatagramsOnTheWayIn: their fragments are put together before the gate.
func TestLongDatagramsOnTheWayIn(t *testing.T) {
	for _, address := range []netip.Addr{testkit.LocalIPv4.Addr(), testkit.LocalIPv6.Addr()} {
		t.Run(address.String(), func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
				r := newRig(t, mode, func(c *config.Config) { c.Rules.Placement = vocabulary.PlacementInput })
				to := netip.AddrPortFrom(address, port)
				in, out := listen(t, r.local, to), dial(t, r.remote, to)
				sent := []string{strings.Repeat("a", 4000), "b", strings.Repeat("c", 30000)}
				write(t, out, sent...)
				want(t, in, sent...)
				r.done(1)
			})
		})
	}
}

func TestMulticastAndBroadcast(t *testing.T) {
	device := func(t *testing.T, ns *netlab.NetNS, name string) (i *net.Interface) {
		t.Helper()
		if err := ns.Do(func() (err error) { i, err = net.InterfaceByName(name); return err }); err != nil {
			t.Fatal(err)
		}
		return i
	}
	t.Run("multicast", func(t *testing.T) {
		bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
			r := newRig(t, mode, nil)
			group := netip.MustParseAddr("233.252.0.1") // MCAST-TEST-NET, RFC 6676
			var in *net.UDPConn
			remoteDevice := device(t, r.remote, testkit.RemoteLink)
			if err := r.remote.Do(func() (err error) {
				in, err = net.ListenMulticastUDP("udp4", remoteDevice, net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, port)))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = in.Close() }()
			if err := r.local.AddRoute(netip.PrefixFrom(group, 32), testkit.RemoteIPv4.Addr()); err != nil {
				t.Fatal(err)
			}
			write(t, r.dial(netip.AddrPortFrom(group, port)), "one", "two", "three")
			want(t, in, "one", "two", "three")
			r.done(1)
		})
	})
	t.Run("broadcast", func(t *testing.T) {
		bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
			r := newRig(t, mode, nil)
			to := netip.MustParseAddrPort("192.0.2.255:5300")
			in := r.listenRemote(to)
			write(t, r.dial(to), "one", "two", "three") // Go's sockets have SO_BROADCAST set
			want(t, in, "one", "two", "three")
			r.done(1)
		})
	})
}

// TestMasqueradeBehindTheQueue: without a guard each packet has an entry of its own,
// and a port.
func TestMasqueradeBehindTheQueue(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementPostrouting} {
		t.Run(string(placement), func(t *testing.T) {
			r := newRig(t, vocabulary.GuardHold, func(c *config.Config) { c.Rules.Placement = placement })
			nat(t, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, &expr.Masq{FullyRandom: true})
			in, out := r.listenRemote(remotes["IPv4"]), r.dial(remotes["IPv4"])
			write(t, out, "one", "two", "three")
			want(t, in, "one", "two", "three")
			r.done(1)
		})
	}
}

// TestDNATBesideTheQueue: nat OUTPUT comes behind mangle OUTPUT, and before
// POSTROUTING.
func TestDNATBesideTheQueue(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementPostrouting} {
		t.Run(string(placement), func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
				r := newRig(t, mode, func(c *config.Config) { c.Rules.Placement = placement })
				before, target := netip.MustParseAddr("192.0.2.77").As4(), testkit.RemoteIPv4.Addr().As4()
				nat(t, nftables.ChainHookOutput, nftables.ChainPriorityNATDest,
					&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4, DestRegister: 1},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: before[:]},
					&expr.Immediate{Register: 1, Data: target[:]},
					&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
				in := r.listenRemote(remotes["IPv4"])
				for _, to := range []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4(before), port), remotes["IPv4"]} {
					out := r.dial(to)
					write(t, out, "one", "two", "three")
					sender := want(t, in, "one", "two", "three")
					if _, err := in.WriteToUDPAddrPort([]byte("answer"), sender); err != nil {
						t.Fatal(err)
					}
					want(t, out, "answer")
				}
				r.done(1)
			})
		})
	}
}

// TestICMPErrorsReachTheSender, each that of the packet that it is for.
func TestICMPErrorsReachTheSender(t *testing.T) {
	eachFamily(t, func(t *testing.T, mode vocabulary.GuardMode, to netip.AddrPort) {
		r := newRig(t, mode, nil)
		out := r.dial(to) // nobody listens there
		for _, payload := range []string{"first", "second"} {
			write(t, out, payload)
			if err := out.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 10)); !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatalf("%s packet: %v, want ECONNREFUSED", payload, err)
			}
		}
		r.done(0)
	})
}

// TestRulesSeeThePacketsThemselves: what is held comes by the interface that it came
// by, and meets the rules behind the queue as ever.
func TestRulesSeeThePacketsThemselves(t *testing.T) {
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	for name, test := range map[string]struct {
		hook *nftables.ChainHook
		rule []expr.Any
		want []string
	}{
		"none passes but through lo": {nftables.ChainHookInput, []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIF, Register: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(1)},
			drop,
		}, nil},
		"none leaves": {nftables.ChainHookOutput, []expr.Any{drop}, []string{"one", "two", "three"}},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
				r := newRig(t, mode, func(c *config.Config) { c.Rules.Placement = vocabulary.PlacementInput })
				filter(t, test.hook, test.rule...)
				to := netip.AddrPortFrom(testkit.LocalIPv4.Addr(), port)
				in, out := listen(t, r.local, to), dial(t, r.remote, to)
				write(t, out, "one", "two", "three")
				want(t, in, test.want...)
				further := uint64(2)
				if test.want == nil {
					further = 0 // what is dropped never comes to its confirm
				}
				if s := r.done(further); mode == vocabulary.GuardHold && s.Gate.Total.Confirmed+s.Gate.Total.Gone+s.Gate.Total.Dark != s.Gate.Total.Held {
					t.Errorf("gate: %+v; want all to be confirmed, or gone", s.Gate.Total)
				}
			})
		})
	}
}

// TestDroppedByTurns: behind the queue, a rule drops every third packet.
func TestDroppedByTurns(t *testing.T) {
	bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
		r := newRouter(t, false)
		filter(t, nftables.ChainHookPostrouting,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
			&expr.Numgen{Register: 1, Modulus: 3, Type: unix.NFT_NG_INCREMENTAL},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(2)},
			&expr.Verdict{Kind: expr.VerdictDrop})
		d := start(t, r.ns, forwardConfig(mode))
		in, out := r.sockets()
		write(t, out, "0", "1", "2", "3", "4", "5", "6", "7", "8")
		want(t, in, "0", "1", "3", "4", "6", "7")
		s := d.stop()
		if s.Total.Received != 9 {
			t.Errorf("%d packets were judged, want 9", s.Total.Received)
		}
		checkClashes(t, mode, &s, 1)
	})
}

// TestFirstPacketsDropped: behind the queue, a rule drops a flow's first packets.
// Each is known to be gone, and the next one is let go, alone.
func TestFirstPacketsDropped(t *testing.T) {
	bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
		r := newRig(t, mode, nil)
		filter(t, nftables.ChainHookPostrouting,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
			&expr.Meta{Key: expr.MetaKeyLEN, Register: 1},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.NativeEndian.PutUint32(100)},
			&expr.Verdict{Kind: expr.VerdictDrop})
		in, out := r.listenRemote(remotes["IPv4"]), r.dial(remotes["IPv4"])
		long := strings.Repeat("long", 30)
		write(t, out, "one", "two", "three", long, long)
		want(t, in, long, long)
		s := r.done(1)
		if mode == vocabulary.GuardHold && s.Gate.Total.Gone != 3 {
			t.Errorf("gate: %+v; want three to be known to be gone", s.Gate.Total)
		}
	})
}

// TestStopWhileFirstPacketsAreDropped: what is held then is known to wait for a packet
// that is gone, as ever.
func TestStopWhileFirstPacketsAreDropped(t *testing.T) {
	r := newRig(t, vocabulary.GuardHold, func(c *config.Config) { c.Analysis = perFlow(300 * time.Millisecond) })
	filter(t, nftables.ChainHookPostrouting,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Verdict{Kind: expr.VerdictDrop})
	write(t, r.dial(remotes["IPv4"]), "one", "two", "three")
	time.Sleep(100 * time.Millisecond) // shorter than the analysis
	if s := r.done(1); s.Gate.Total.Gone != 2 {
		t.Errorf("gate: %+v; want two to be let go for one that is gone", s.Gate.Total)
	}
}

// TestFlushedTable: conntrack forgets a flow that has settled, as an operator's
// `conntrack -F` has it do.
func TestFlushedTable(t *testing.T) {
	eachFamily(t, func(t *testing.T, mode vocabulary.GuardMode, to netip.AddrPort) {
		r := newRig(t, mode, func(c *config.Config) { c.Analysis.Per = vocabulary.PerPacket })
		in, out := r.listenRemote(to), r.dial(to)
		conn, err := conntrack.Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for range 3 {
			for range 6 {
				write(t, out, "one", "two", "three")
				want(t, in, "one", "two", "three")
			}
			if mode == vocabulary.GuardHold {
				awaitListed(t, r.local, config.Default().Rules.Table)
			}
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if s := r.done(1); mode == vocabulary.GuardHold && (s.Gate.Total.Listed == 0 || s.Gate.Total.Announced == 0) {
			t.Errorf("gate: %+v; want the flow to be listed, and to be announced where its entry had gone", s.Gate.Total)
		}
	})
}

// TestMarksAndRoutesStay: rules by a packet's mark match, and its route stays the one
// that its sender chose. A packet whose mark a verdict changed in OUTPUT would be
// routed once more, by its address.
func TestMarksAndRoutesStay(t *testing.T) {
	bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
		r := newRig(t, mode, nil)
		if err := netlab.AddVeth(
			netlab.Endpoint{NetNS: r.local, Link: "other0", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
			netlab.Endpoint{NetNS: r.remote, Link: "other1", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24")}},
		); err != nil {
			t.Fatal(err)
		}
		device, err := net.InterfaceByName("other0")
		if err != nil {
			t.Fatal(err)
		}
		const mark = 0x20000005
		chain := addRule(t, &nftables.Chain{Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityFilter},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte("other0"), make([]byte, unix.IFNAMSIZ-6)...)},
			&expr.Counter{})
		// The address is the other link's, and only IP_PKTINFO sends it this way.
		out := r.dial(remotes["IPv4"])
		option(t, out, unix.SOL_SOCKET, unix.SO_MARK, mark)
		raw, err := out.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		info := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(device.Index)})
		const sent = 4
		for range sent {
			if err := raw.Control(func(fd uintptr) {
				if err := unix.Sendmsg(int(fd), []byte("hey"), info, nil, 0); err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "verdicts", func() bool { return judged(t) == sent })
		s := r.done(1)
		rules, err := (&nftables.Conn{}).GetRules(chain.Table, chain)
		if err != nil {
			t.Fatal(err)
		}
		if n := rules[0].Exprs[4].(*expr.Counter).Packets; n != sent || s.Total.Received != sent {
			t.Errorf("%d packets left with their mark through the interface chosen, %d were judged; want %d", n, s.Total.Received, sent)
		}
	})
}
