package trace

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// heldFlows is a load whose clashes are known beforehand, one by one: queues on the way to confirm hold every packet
// of every flow, each with an unconfirmed entry of its own, before the first verdict is given. Then all but one
// packet of each flow clash. Where there are several queues, their verdicts race.
type heldFlows struct {
	address netip.Addr // of the namespace, to send from and to
	flows   int
	packets int // of each flow
	queues  int
}

// heldResult is what a load has come to.
type heldResult struct {
	target    netip.AddrPort
	sources   map[netip.AddrPort]int // each flow's, and its clashes
	delivered int
}

const (
	heldFirstQueue = 10
	heldWithin     = time.Minute // for a packet to arrive; under emulation, on a loaded machine
)

// run makes the flows in a namespace.
func (h heldFlows) run(ns *netlab.NetNS) (r heldResult, err error) {
	var receiver *net.UDPConn
	var queues []nfq.Queue
	var rules *ruleset.Installed
	// The rules first, so that nobody's packets are queued when the queues go.
	defer func() {
		if rules != nil {
			err = errors.Join(err, ns.Do(rules.Remove))
		}
		for _, q := range queues {
			err = errors.Join(err, q.Close())
		}
		if receiver != nil {
			err = errors.Join(err, receiver.Close())
		}
	}()
	r.sources = make(map[netip.AddrPort]int)
	err = ns.Do(func() error {
		if receiver, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.address, 0))); err != nil {
			return fmt.Errorf("open the receiver: %w", err)
		}
		// The verdicts spin, and may leave the receiver no time until they are given.
		if err := h.roomToReceive(receiver); err != nil {
			return err
		}
		r.target = receiver.LocalAddr().(*net.UDPAddr).AddrPort()
		for i := range h.queues {
			q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{
				Queue: uint16(heldFirstQueue + i), MaxLength: uint32(h.flows*h.packets + 1), ReceiveBuffer: 16 << 20,
			})
			if err != nil {
				return err
			}
			queues = append(queues, q)
		}
		rules, err = ruleset.Install(ruleset.Config{
			Table: "held", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutNumgen,
			FirstQueue: heldFirstQueue, Queues: uint16(h.queues), IPv4: h.address.Is4(), IPv6: h.address.Is6(),
			Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{r.target.Port()},
		})
		if err != nil {
			return err
		}
		return h.send(&r)
	})
	if err != nil {
		return r, err
	}
	r.delivered, err = h.release(receiver, queues)
	return r, err
}

// roomToReceive lets the receiver hold all packets.
func (h heldFlows) roomToReceive(receiver *net.UDPConn) error {
	conn, err := receiver.SyscallConn()
	if err != nil {
		return err
	}
	var made error
	err = conn.Control(func(fd uintptr) { made = testbed.RoomToReceive(int(fd), h.flows*h.packets) })
	return errors.Join(err, made)
}

// send makes the flows, each from a port of its own. A write returns when its packet is in the queue.
func (h heldFlows) send(r *heldResult) (err error) {
	var senders []*net.UDPConn // open until the end: the port of one that is closed might be given to the next
	defer func() {
		for _, s := range senders {
			err = errors.Join(err, s.Close())
		}
	}()
	for range h.flows {
		sender, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.address, 0)))
		if err != nil {
			return fmt.Errorf("open a sender: %w", err)
		}
		senders = append(senders, sender)
		for range h.packets {
			if _, err := sender.WriteToUDPAddrPort([]byte("held"), r.target); err != nil {
				return fmt.Errorf("send a packet into the queue: %w", err)
			}
		}
		r.sources[sender.LocalAddr().(*net.UDPAddr).AddrPort()] = h.packets - 1
	}
	return nil
}

// release accepts everything, in each queue on a thread of its own, and counts what arrives.
func (h heldFlows) release(receiver *net.UDPConn, queues []nfq.Queue) (delivered int, err error) {
	var running sync.WaitGroup
	var failed atomic.Pointer[error]
	line := startLine{racers: int64(len(queues)), races: int64(h.flows * h.packets / len(queues))}
	for _, q := range queues {
		running.Go(func() {
			race := int64(0)
			err := q.Run(func(b *nfq.Batch) error {
				for i := range b.Packets {
					race++
					if err := errors.Join(line.wait(race),
						q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Queue: b.Packets[i].Queue, Verdict: nfq.Accept}),
						q.Flush()); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	defer func() {
		for _, q := range queues {
			err = errors.Join(err, q.Stop())
		}
		running.Wait()
		if f := failed.Load(); f != nil {
			err = errors.Join(err, fmt.Errorf("give verdicts: %w", *f))
		}
	}()
	buf := make([]byte, 16)
	for delivered < h.flows*h.packets {
		if err := receiver.SetReadDeadline(time.Now().Add(heldWithin)); err != nil {
			return delivered, err
		}
		if _, err := receiver.Read(buf); err != nil {
			return delivered, fmt.Errorf("receive packet %d of %d: %w", delivered+1, h.flows*h.packets, err)
		}
		delivered++
	}
	return delivered, nil
}

// A startLine lets the verdicts of all queues go at the same moment: the kernel then resolves some clashes at confirm
// that it would resolve at re-injection otherwise (4.18 to 6.11). As the rules take the queues in turn, they are
// verdicts on packets of one flow.
type startLine struct {
	racers, races int64
	arrived       atomic.Int64
}

// wait ends when all racers have come to a race. It spins: waking a thread takes longer than what it is to meet.
func (s *startLine) wait(race int64) error {
	if race > s.races {
		return nil // one of those that are left when packets do not divide
	}
	s.arrived.Add(1)
	for began := time.Now(); s.arrived.Load() < race*s.racers; runtime.Gosched() {
		if time.Since(began) > heldWithin {
			return fmt.Errorf("not all queues came to their verdict %d within %v", race, heldWithin)
		}
	}
	return nil
}
