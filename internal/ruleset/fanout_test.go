package ruleset

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

const fanoutQueues = 4

// Flows between the same two hosts share one of the queues.
func TestFanoutBalance(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns, l, f := fanout(t, vocabulary.FanoutBalance, ipv6)
		for range 16 {
			f.dial(ns)
			f.deliver()
		}
		if got := distinctQueues(l.takeQueues()); len(got) != 1 || got[0] < 10 || got[0] >= 10+fanoutQueues {
			t.Errorf("flows between two addresses in queues %v, want one of 10 to 13", got)
		}
	})
}

// Flows between the same two hosts are spread, and each keeps its queue.
func TestFanoutPorts(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns, l, f := fanout(t, vocabulary.FanoutPorts, ipv6)
		var all []uint16
		for range 64 {
			f.dial(ns)
			for range 3 {
				f.deliver()
			}
			got := distinctQueues(l.takeQueues())
			if len(got) != 1 {
				t.Fatalf("one flow in queues %v", got)
			}
			all = append(all, got...)
		}
		// That a queue of four gets none of 64 flows has a chance of 4 (3/4)^64,
		// one in 25 million.
		if got, want := distinctQueues(all), []uint16{10, 11, 12, 13}; !slices.Equal(got, want) {
			t.Errorf("64 flows in queues %v, want all of %v", got, want)
		}
	})
}

// Both addresses count, too.
func TestFanoutPortsHashesAddresses(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns, l, f := fanout(t, vocabulary.FanoutPorts, ipv6)
		address := testkit.LocalIPv4.Addr()
		if ipv6 {
			address = testkit.LocalIPv6.Addr()
		}
		var there, back []uint16
		for range 64 {
			address = address.Next()
			if err := ns.AddAddress("lo", netip.PrefixFrom(address, address.BitLen())); err != nil {
				t.Fatal(err)
			}
			f.dialFrom(ns, net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 4000)))
			f.deliver()
			there = append(there, l.takeQueues()...)
			f.answer()
			back = append(back, l.takeQueues()...)
			f.client.Close()
		}
		for name, got := range map[string][]uint16{"source": there, "destination": back} {
			if got, want := distinctQueues(got), []uint16{10, 11, 12, 13}; !slices.Equal(got, want) {
				t.Errorf("64 %s addresses in queues %v, want all of %v", name, got, want)
			}
		}
	})
}

// What has no ports is queued by its addresses: other protocols, whose first
// bytes are not ports, and fragments.
func TestFanoutPortsWithoutPorts(t *testing.T) {
	t.Run("ICMP", func(t *testing.T) {
		bothFamilies(t, func(t *testing.T, ipv6 bool) {
			testkit.Namespace(t)
			c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutPorts, fanoutQueues)
			c.Protocols = nil
			l := listen(t, c, nil)
			install(t, c)
			const echoes = 16
			for i := range echoes {
				ping(t, ipv6, byte(i))
			}
			// Each echo is queued, and so is each answer.
			got := l.takeQueues()
			if len(got) != 2*echoes || len(distinctQueues(got)) != 1 {
				t.Errorf("queues %v: want %d times the same", got, 2*echoes)
			}
		})
	})

	// Fragments stay such only where conntrack does not put them together, so
	// these namespaces have none.
	t.Run("fragments", func(t *testing.T) { bothFamilies(t, fragmentsInQueues) })
}

func fragmentsInQueues(t *testing.T, ipv6 bool) {
	testkit.Require(t)
	sender, receiver := namespace(t), namespace(t)
	local, remote := testkit.LocalIPv4, testkit.RemoteIPv4
	if ipv6 {
		local, remote = testkit.LocalIPv6, testkit.RemoteIPv6
	}
	err := netlab.AddVeth(
		netlab.Endpoint{NetNS: sender, Link: "a", Addresses: []netip.Prefix{local}},
		netlab.Endpoint{NetNS: receiver, Link: "b", Addresses: []netip.Prefix{remote}},
	)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := receiver.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leave() })

	c := udpRules(vocabulary.PlacementPreConntrack, vocabulary.FanoutPorts, fanoutQueues)
	l := listen(t, c, nil)
	install(t, c)
	f := open(t, sender, receiver, at(remote.Addr()))
	f.send(4000) // three fragments on a link of 1500 bytes
	if !f.receive(surely) {
		t.Fatal("a datagram in fragments was lost")
	}
	got := l.takeQueues()
	if len(got) != 3 {
		t.Fatalf("fragments in queues %v, want 3", got)
	}
	if len(distinctQueues(got)) > 2 {
		t.Errorf("fragments in queues %v: want one queue for the two without ports", got)
	}
}

// Packets go to the queues in turn.
func TestFanoutNumgen(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		_, l, f := fanout(t, vocabulary.FanoutNumgen, ipv6)
		for range 3 * fanoutQueues {
			f.deliver()
		}
		got := l.takeQueues()
		if len(got) != 3*fanoutQueues {
			t.Fatalf("queues %v: want %d packets", got, 3*fanoutQueues)
		}
		for i := range got[1:] {
			if want := 10 + (got[i]-10+1)%fanoutQueues; got[i+1] != want {
				t.Fatalf("queues %v: not in turn", got)
			}
		}
	})
}

// A packet goes to the queue of the CPU that sends it.
func TestFanoutCPU(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns, l, f := fanout(t, vocabulary.FanoutCPU, ipv6)
		var usable unix.CPUSet
		if err := unix.SchedGetaffinity(0, &usable); err != nil {
			t.Fatal(err)
		}
		for cpu := range 2 * fanoutQueues {
			if !usable.IsSet(cpu) {
				continue
			}
			err := ns.Do(func() error { // keeps the goroutine on its thread
				var one unix.CPUSet
				one.Set(cpu)
				if err := unix.SchedSetaffinity(0, &one); err != nil {
					return err
				}
				f.send(1)
				return unix.SchedSetaffinity(0, &usable)
			})
			if err != nil {
				t.Fatal(err)
			}
			if !f.receive(surely) {
				t.Fatal("a datagram was lost")
			}
			if got, want := l.takeQueues(), []uint16{uint16(10 + cpu%fanoutQueues)}; !slices.Equal(got, want) {
				t.Errorf("sent on CPU %d: queues %v, want %v", cpu, got, want)
			}
		}
	})
}

// With one queue there is nothing to fan out, and no need of the features that
// a fan-out takes.
func TestFanoutOverOneQueue(t *testing.T) {
	for _, fanout := range vocabulary.Fanouts() {
		t.Run(string(fanout), func(t *testing.T) {
			ns := testkit.Namespace(t)
			c := udpRules(vocabulary.PlacementOutput, fanout, 1)
			l := listen(t, c, nil)
			install(t, c)
			_, _, loopback := ends(false)
			f := open(t, ns, ns, at(loopback))
			for range 4 {
				f.deliver()
			}
			if got, want := l.takeQueues(), []uint16{10, 10, 10, 10}; !slices.Equal(got, want) {
				t.Errorf("queues %v, want %v", got, want)
			}
		})
	}
}

// A fan-out by chains installs over as many queues as are allowed.
func TestFanoutOverManyQueues(t *testing.T) {
	testkit.Namespace(t)
	for _, fanout := range []vocabulary.Fanout{vocabulary.FanoutPorts, vocabulary.FanoutNumgen} {
		i := install(t, udpRules(vocabulary.PlacementVerdict3, fanout, uint16(fanout.MaxQueues())))
		if err := i.Remove(); err != nil {
			t.Fatal(err)
		}
	}
}

// fanout makes a namespace with rules over several queues, and a flow in it.
func fanout(t *testing.T, kind vocabulary.Fanout, ipv6 bool) (*netlab.NetNS, *listener, *flow) {
	t.Helper()
	ns := testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, kind, fanoutQueues)
	l := listen(t, c, nil)
	install(t, c)
	_, _, loopback := ends(ipv6)
	return ns, l, open(t, ns, ns, at(loopback))
}

// ping sends an ICMP echo through loopback and waits for the answer.
func ping(t *testing.T, ipv6 bool, sequence byte) {
	t.Helper()
	network, echo, answer := "ip4:icmp", byte(8), byte(0)
	_, _, loopback := ends(ipv6)
	if ipv6 {
		network, echo, answer = "ip6:ipv6-icmp", 128, 129
	}
	conn, err := net.Dial(network, loopback.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(surely)); err != nil {
		t.Fatal(err)
	}
	message := []byte{echo, 0, 0, 0, 0x12, 0x34, 0, sequence}
	if !ipv6 { // the kernel fills the checksum of ICMPv6 in
		sum := uint32(echo)<<8 + 0x1234 + uint32(sequence)
		sum = ^(sum + sum>>16)
		message[2], message[3] = byte(sum>>8), byte(sum)
	}
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 128)
	for {
		n, _, err := conn.(*net.IPConn).ReadFrom(buffer) // without the IP header
		if err != nil {
			t.Fatal(err)
		}
		if n == len(message) && buffer[0] == answer && buffer[7] == sequence {
			return
		}
	}
}
