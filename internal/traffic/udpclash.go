package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The shape of RunUDPClash.
const (
	UDPClashThreads = 128
	udpClashPayload = "abc"
)

// UDPClashConfig says where RunUDPClash sends. The fields that ClashConfig has as well mean the same.
type UDPClashConfig struct {
	Target        netip.Addr    `json:"target"`
	Port          uint16        `json:"port"`
	AllowTarget   netip.Addr    `json:"allow_target,omitzero"`
	ReceiveAt     netip.Addr    `json:"receive_at,omitzero"`
	Sources       []netip.Addr  `json:"sources"`
	SenderNetns   string        `json:"sender_netns,omitempty"`
	ReceiverNetns string        `json:"receiver_netns,omitempty"`
	Flows         int           `json:"flows"` // each one round
	FlowTimeout   time.Duration `json:"-"`     // bounds the wait for a round's replies
	Seed          uint64        `json:"seed"`
	Duration      time.Duration `json:"-"`
	Timeout       time.Duration `json:"-"`
	Enough        func() bool   `json:"-"`
}

// UDPClashResult is what RunUDPClash saw. Lost is the datagrams whose reply did not come, refused ones among them.
type UDPClashResult struct {
	Config     UDPClashConfig    `json:"config"`
	Flows      uint64            `json:"flows"`
	Sent       uint64            `json:"sent"`
	Replies    uint64            `json:"replies"`
	Lost       uint64            `json:"lost"`
	LossyFlows uint64            `json:"lossy_flows"` // rounds that the selftest would call a failure
	SendErrors uint64            `json:"send_errors"`
	SendErrno  map[string]uint64 `json:"send_errno,omitempty"`
	Seconds    float64           `json:"seconds"`

	Ended       Ended `json:"ended"`
	TimedOut    bool  `json:"timed_out"`
	Interrupted bool  `json:"interrupted"`
}

// MarshalJSON writes durations as Go writes them.
func (c UDPClashConfig) MarshalJSON() ([]byte, error) {
	type plain UDPClashConfig
	return json.Marshal(struct {
		plain
		FlowTimeout string `json:"flow_timeout"`
		Duration    string `json:"duration"`
		Timeout     string `json:"timeout"`
	}{plain(c), c.FlowTimeout.String(), c.Duration.String(), c.Timeout.String()})
}

// clash is the same as far as RunClash has it, for its checks.
func (c *UDPClashConfig) clash() ClashConfig {
	cfg := DefaultClash()
	cfg.Target, cfg.Port, cfg.AllowTarget, cfg.ReceiveAt, cfg.Sources = c.Target, c.Port, c.AllowTarget, c.ReceiveAt,
		c.Sources
	cfg.Flows, cfg.FlowTimeout, cfg.Duration, cfg.Timeout = c.Flows, c.FlowTimeout, c.Duration, c.Timeout
	cfg.Linger = 0
	return cfg
}

// Validate returns every problem at once.
func (c *UDPClashConfig) Validate() error {
	cfg := c.clash()
	return cfg.Validate()
}

// udpClash is one run.
type udpClash struct {
	cfg UDPClashConfig
	ends
	halted atomic.Bool
	round  event  // threads wait for the next one to begin
	left   event  // counts sends that have returned
	fd     int    // of the round
	to     thread // its address only
	errnos []errnoCounts
	res    *UDPClashResult
}

// RunUDPClash sends what the kernel's selftest of clash resolution sends (tools/testing/selftests/net/netfilter,
// udpclash): 128 threads share one unconnected socket and send one datagram of three bytes each, all let go at once;
// the far end returns each, and all must come. Each round is a flow of its own. It ends as RunClash does.
func RunUDPClash(ctx context.Context, cfg UDPClashConfig, progress func(Progress)) (_ *UDPClashResult, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	const others = 4
	if want := UDPClashThreads + others; want > runtime.GOMAXPROCS(0) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(want))
	}
	cfg.Seed = ChooseSeed(cfg.Seed)
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	u := &udpClash{cfg: cfg, errnos: make([]errnoCounts, UDPClashThreads),
		res: &UDPClashResult{SendErrno: map[string]uint64{}}}
	defer u.close()
	if err := u.ends.open(cfg.SenderNetns, cfg.ReceiverNetns); err != nil {
		return nil, err
	}
	at := cfg.clash()
	e, err := startEcho(u.receiving, at.receiveAt())
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	done := make(chan error, 1)
	onThread(func() { done <- u.sending.do(func() error { return u.lead(ctx, begun, progress) }) })
	err = errors.Join(<-done, e.stop())
	u.res.Seconds = time.Since(begun).Seconds()
	if err != nil && u.res.Flows == 0 {
		return nil, err
	}
	u.fill(ctx)
	switch u.res.Ended {
	case EndedTimeout:
		err = errors.Join(err, fmt.Errorf("%d of %d flows: %w", u.res.Flows, cfg.Flows, ErrTimedOut))
	case EndedInterrupted:
		err = errors.Join(err, fmt.Errorf("%d of %d flows: %w", u.res.Flows, cfg.Flows, ErrInterrupted))
	}
	return u.res, err
}

func (u *udpClash) fill(ctx context.Context) {
	res := u.res
	res.Config = u.cfg
	for i := range u.errnos {
		res.SendErrors += u.errnos[i].total()
		u.errnos[i].names(res.SendErrno)
	}
	res.Sent = res.Flows * UDPClashThreads
	res.Lost = res.Sent - res.Replies
	if res.Ended == "" {
		res.Ended = EndedError
	}
	if res.Ended == EndedTimeout && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		res.Ended = EndedInterrupted
	}
	res.TimedOut, res.Interrupted = res.Ended == EndedTimeout, res.Ended == EndedInterrupted
}

// lead runs the rounds.
func (u *udpClash) lead(ctx context.Context, begun time.Time, progress func(Progress)) error {
	cfg := &u.cfg
	target := netip.AddrPortFrom(cfg.Target, cfg.Port)
	if len(cfg.Sources) == 0 {
		source, err := defaultSource(target)
		if err != nil {
			return err
		}
		cfg.Sources = []netip.Addr{source}
	}
	u.to.address(target)
	var threads sync.WaitGroup
	for i := range UDPClashThreads {
		threads.Add(1)
		onThread(func() {
			defer threads.Done()
			u.help(&u.errnos[i])
		})
	}
	defer func() {
		u.halted.Store(true)
		u.round.bump()
		threads.Wait()
	}()
	tuples := newTuples(cfg.Sources, cfg.Port, PortsShuffled, cfg.Seed)
	in := newBatch(receiveBatch, len(udpClashPayload)+1, false)
	next := begun
	for range cfg.Flows {
		switch {
		case ctx.Err() != nil:
			u.res.Ended = EndedTimeout
			return nil
		case cfg.Duration > 0 && time.Since(begun) >= cfg.Duration:
			u.res.Ended = EndedDuration
			return nil
		}
		if time.Since(next) > 0 {
			next = time.Now().Add(100 * time.Millisecond)
			if cfg.Enough != nil && cfg.Enough() {
				u.res.Ended = EndedEnough
				return nil
			}
			if progress != nil {
				progress(Progress{Flows: u.res.Flows, Counts: Counts{Delivered: u.res.Replies}})
			}
		}
		if err := u.flow(tuples, in); err != nil {
			return fmt.Errorf("flow %d: %w", u.res.Flows, err)
		}
	}
	u.res.Ended = EndedFlows
	return nil
}

// flow is one round: a socket of its own, all threads, all replies.
func (u *udpClash) flow(tuples *tuples, in *batch) error {
	if err := u.open(tuples); err != nil {
		return err
	}
	defer func() { _ = unix.Close(u.fd) }()
	before := u.left.load()
	u.round.bump()
	w := backoff{}
	for u.left.load()-before < UDPClashThreads {
		w.pause()
	}
	u.res.Flows++
	replies := 0
	for deadline := time.Now().Add(u.cfg.FlowTimeout); replies < UDPClashThreads; {
		n, err := in.recv(u.fd, unix.MSG_WAITFORONE)
		for i := range n {
			if string(in.payload(i)) == udpClashPayload {
				replies++
			}
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("receive replies: %w", err)
		}
		if time.Now().After(deadline) {
			break
		}
	}
	u.res.Replies += uint64(replies)
	if replies < UDPClashThreads {
		u.res.LossyFlows++
	}
	return nil
}

// open makes the round's socket: bound, so that the flow is new, and not connected, as the selftest's.
func (u *udpClash) open(tuples *tuples) error {
	for {
		source, ok := tuples.take()
		if !ok {
			return fmt.Errorf("%w; add --source addresses", errExhausted)
		}
		fd, err := udpSocket(source.Addr())
		if err != nil {
			return err
		}
		err = errors.Join(setTimeout(fd, unix.SO_RCVTIMEO, pollInterval), unix.Bind(fd, new(sockaddr).set(source)))
		if err == nil {
			u.fd = fd
			return nil
		}
		_ = unix.Close(fd)
		if !errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("bind source %s: %w", source, err)
		}
	}
}

// help is one of the threads. They are not pinned and sleep until they are woken, as the selftest's.
func (u *udpClash) help(errnos *errnoCounts) {
	payload := []byte(udpClashPayload)
	for seen := uint32(0); ; {
		for u.round.load() == seen {
			u.round.wait(seen, time.Second)
		}
		seen = u.round.load()
		if u.halted.Load() {
			return
		}
		errno := unix.EINTR
		for errno == unix.EINTR {
			_, _, errno = syscall.Syscall6(unix.SYS_SENDTO, uintptr(u.fd), uintptr(unsafe.Pointer(&payload[0])),
				uintptr(len(payload)), 0,
				uintptr(unsafe.Pointer(u.to.to)), u.to.toLen)
		}
		if errno != 0 {
			errnos.count(errno)
		}
		u.left.bump()
	}
}

// echo returns every datagram to where it came from.
type echo struct {
	fd      int
	batch   *batch
	stopped atomic.Bool
	done    chan error
}

func startEcho(ns netns, at netip.AddrPort) (*echo, error) {
	const size, buffer = 64, 1 << 20
	e := &echo{batch: newBatch(receiveBatch, size, true), done: make(chan error, 1)}
	err := ns.do(func() (err error) {
		e.fd, err = openReceiver(at, buffer)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	onThread(func() { e.done <- e.run() })
	return e, nil
}

func (e *echo) run() error {
	for !e.stopped.Load() {
		n, err := e.batch.recv(e.fd, unix.MSG_WAITFORONE)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for i := range n {
			e.batch.iovs[i].SetLen(int(e.batch.msgs[i].Len))
		}
		for msgs := e.batch.msgs[:n]; len(msgs) > 0; {
			sent, err := send(e.fd, msgs)
			if err != nil {
				sent = 1 // refused: the sender sees that its reply is missing
			}
			msgs = msgs[sent:]
		}
		for i := range n {
			e.batch.iovs[i].SetLen(len(e.batch.bufs[i]))
		}
	}
	return nil
}

func (e *echo) stop() error {
	e.stopped.Store(true)
	err := <-e.done
	_ = unix.Close(e.fd)
	return err
}
