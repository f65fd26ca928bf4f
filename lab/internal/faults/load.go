package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/traffic"
	"verdictd/lab/internal/testbed"
)

// payloadSize is the length of each packet's payload.
const payloadSize = 64

// roomFor is how many packets a receiver's socket has room for: it may wait for a processor for long.
const roomFor = 1 << 15

// load is the packets: who sends them and who receives.
type load struct {
	*account
	rate   int
	began  time.Time
	sender *netlab.NetNS
	net    netlab.Network

	fixed [steadyFlows + policedFlows + 1]*net.UDPConn
	in    []*net.UDPConn

	sent     atomic.Uint32
	dropped  uint64        // by the receivers' own sockets, known at the end
	failed   atomic.Uint64 // sends that the kernel refused
	stopping atomic.Bool
	stalled  atomic.Int64 // the longest time in which the machine did not run who asked for it, since watchStall
	group    sync.WaitGroup
	errs     chan error
}

// startLoad begins to send.
func startLoad(t *netlab.Topology, rate int) (*load, error) {
	l := &load{
		account: &account{run: rand.Uint32()}, rate: rate, began: time.Now(), sender: t.Sender,
		net: netlab.Networks[netlab.Families()[0]], errs: make(chan error, 1),
	}
	err := errors.Join(t.Receiver.Do(l.listen), t.Sender.Do(l.dial))
	if err != nil {
		l.close()
		return nil, err
	}
	for _, c := range l.in {
		l.group.Go(func() { l.receive(c) })
	}
	l.group.Go(l.feel)
	go func() {
		// Never unlocked: the thread is in the sender's namespace, and ends with the goroutine.
		if _, err := t.Sender.Enter(); err != nil {
			l.errs <- err
			return
		}
		l.errs <- l.send()
	}()
	return l, nil
}

// feel finds out for how long the machine stands still: nobody's packets go on then.
func (l *load) feel() {
	for !l.stopping.Load() {
		before := time.Now()
		time.Sleep(time.Millisecond)
		if took := int64(time.Since(before)); took > l.stalled.Load() {
			l.stalled.Store(took)
		}
	}
}

// now is the time since the start.
func (l *load) now() time.Duration { return time.Since(l.began) }

func (l *load) listen() error {
	for _, port := range []uint16{portAccepted, portPoliced, portSwitched} {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.net.Target, port)))
		if err != nil {
			return fmt.Errorf("receive at port %d: %w", port, err)
		}
		l.in = append(l.in, c)
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		if cerr := raw.Control(func(fd uintptr) { err = testbed.RoomToReceive(int(fd), roomFor) }); err != nil || cerr != nil {
			return errors.Join(err, cerr)
		}
	}
	return nil
}

// dial opens the sockets of all flows but the new ones.
func (l *load) dial() (err error) {
	sources := l.net.SourceList()
	for i := range l.fixed {
		port := uint16(portAccepted)
		switch {
		case i >= steadyFlows+policedFlows:
			port = portSwitched
		case i >= steadyFlows:
			port = portPoliced
		}
		local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(sources[i%len(sources)], 0))
		remote := net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.net.Target, port))
		if l.fixed[i], err = net.DialUDP("udp", local, remote); err != nil {
			return fmt.Errorf("open a flow: %w", err)
		}
	}
	return nil
}

// batch bounds how many packets have one time of sending.
const batch = 64

// lateMost bounds what is made up for of a time in which the machine stood still: all of it at once would be a flood,
// which the kernel drops on its way to the router.
const lateMost = 100 * time.Millisecond

// schedule says how many packets are to be sent by a time.
type schedule struct {
	rate    int
	skipped uint32
}

// due is how many, of which n have been sent.
func (s *schedule) due(now time.Duration, n uint32) uint32 {
	due := uint32(now.Seconds()*float64(s.rate)) - s.skipped
	if most := n + uint32(lateMost.Seconds()*float64(s.rate)) + 1; due > most {
		s.skipped += due - most
		return most
	}
	return due
}

// send follows the schedule until it is told to stop, to the end of a cycle.
func (l *load) send() error {
	payload := make([]byte, payloadSize)
	flow := newFlow{l: l}
	defer flow.end()
	at := schedule{rate: l.rate}
	for n := uint32(0); ; {
		due := at.due(l.now(), n)
		if n >= due {
			time.Sleep(time.Millisecond)
			continue
		}
		end := min(due, n+batch)
		l.sending(n, l.now())
		for ; n < end; n++ {
			if n%cycle == 0 && l.stopping.Load() {
				return nil
			}
			c, number := classOf(n)
			if c == fresh && n%cycle == 0 {
				if err := flow.next(); err != nil {
					return err
				}
			}
			traffic.Header{Run: l.run, Flow: n, Sent: int64(l.now())}.Put(payload)
			if err := l.put(c, number, &flow, payload); err != nil {
				l.failed.Add(1) // it is lost, which shows at the receiver
			}
			l.sent.Store(n + 1)
		}
	}
}

func (l *load) put(c class, number uint32, flow *newFlow, payload []byte) error {
	conn := flow.conn
	switch c {
	case steady:
		conn = l.fixed[number]
	case policed:
		conn = l.fixed[steadyFlows+number]
	case switched:
		conn = l.fixed[steadyFlows+policedFlows]
	}
	_, err := conn.Write(payload)
	return err
}

// newFlow is the socket of the newest flow.
type newFlow struct {
	l    *load
	used int
	conn *net.UDPConn
}

// next opens the socket of another flow, whose addresses and ports no flow had within conntrack's timeout.
func (f *newFlow) next() error {
	f.end()
	const firstPort, ports = 1024, 30_000 // below those that the kernel chooses
	sources := f.l.net.SourceList()
	for range ports {
		source := sources[f.used%len(sources)]
		port := firstPort + f.used/len(sources)%ports
		f.used++
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, uint16(port))),
			net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.l.net.Target, portAccepted)))
		if err == nil {
			f.conn = conn
			return nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("open a new flow: %w", err)
		}
	}
	return errors.New("open a new flow: all ports are taken")
}

func (f *newFlow) end() {
	if f.conn != nil {
		_ = f.conn.Close()
		f.conn = nil
	}
}

func (l *load) receive(c *net.UDPConn) {
	buf := make([]byte, payloadSize+1)
	for {
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // it is closed
		}
		l.arrived(buf[:n], l.now())
	}
}

// stop ends the load, waits for what is on its way, and returns all that went wrong.
func (l *load) stop() (events []event, err error) {
	const quiet, patience = 500 * time.Millisecond, 10 * time.Second
	l.stopping.Store(true)
	err = <-l.errs
	delivered, since := uint64(0), time.Now()
	for end := time.Now().Add(patience); time.Now().Before(end) && time.Since(since) < quiet; time.Sleep(10 * time.Millisecond) {
		if d := l.read(0).delivered; d != delivered {
			delivered, since = d, time.Now()
		}
	}
	l.dropped = l.receiverDrops()
	l.close()
	return l.account.close(l.sent.Load()), err
}

// close closes all sockets.
func (l *load) close() {
	for _, c := range append(l.in, l.fixed[:]...) {
		if c != nil {
			_ = c.Close()
		}
	}
	l.group.Wait()
}

// receiverDrops is how many packets the receivers' own sockets could not take.
func (l *load) receiverDrops() (total uint64) {
	for _, c := range l.in {
		raw, err := c.SyscallConn()
		if err != nil {
			continue
		}
		_ = raw.Control(func(fd uintptr) {
			if n, err := traffic.SocketDrops(int(fd)); err == nil {
				total += n
			}
		})
	}
	return total
}
