package nfq

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/statistics"
)

// Gonf is the reference backend, on go-nfqueue: a batch is one packet, a
// verdict one system call, a refused verdict shows only in the library's log.
//
// It ignores Config.OnThread: the library receives on a goroutine that must not be
// locked to a thread, as mdlayher/netlink has other goroutines watch over each
// system call, and a thread switch for each makes it several times slower.
type Gonf struct {
	cfg           Config
	nf            *nfqueue.Nfqueue
	receiveBuffer atomic.Int64
	batch         Batch
	stats         statistics.Transport

	// The library starts to receive when it binds; its callback waits for Run.
	handle  func(*Batch) error
	running chan struct{}
	ended   chan error
	started bool
	closed  bool
}

// drainFor bounds how long Stop waits for the kernel's queue to empty.
const drainFor = time.Second

// OpenGonf binds the queue in the network namespace of the calling thread.
//
// Errors: *InUseError where another process holds the queue.
func OpenGonf(cfg Config) (*Gonf, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("queue %d: %w", cfg.Queue, err)
	}
	if len(cfg.MoreQueues) > 0 {
		return nil, fmt.Errorf("queue %d: further queues on its socket: %w; use the mmsg backend", cfg.Queue, ErrUnsupported)
	}
	mode := byte(nfqueue.NfQnlCopyPacket)
	if cfg.CopyMode == CopyMeta {
		mode = nfqueue.NfQnlCopyMeta
	}
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue: cfg.Queue, MaxQueueLen: cfg.MaxLength, MaxPacketLen: copyRange(cfg.CopyRange),
		Copymode: mode, Flags: cfg.flags(), AfFamily: unix.AF_UNSPEC,
	})
	if err != nil {
		return nil, fmt.Errorf("queue %d: open: %w", cfg.Queue, err)
	}
	q := &Gonf{cfg: cfg, nf: nf, running: make(chan struct{}), ended: make(chan error, 1)}
	q.batch.Packets, q.batch.All = make([]Packet, 1), true
	if err := q.bind(); err != nil {
		return nil, errors.Join(err, nf.Close())
	}
	return q, nil
}

func setReceiveBuffer(conn *netlink.Conn, size int) (granted int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("reach the descriptor of the socket: %w", err)
	}
	var refused error
	err = raw.Control(func(fd uintptr) { granted, refused = nfnl.SetReceiveBuffer(int(fd), size) })
	return granted, errors.Join(err, refused)
}

func (q *Gonf) bind() error {
	var err error
	if err = q.nf.SetOption(netlink.NoENOBUFS, true); err == nil {
		_, err = q.GrowReceiveBuffer(q.cfg.ReceiveBuffer)
	}
	if err != nil {
		return fmt.Errorf("queue %d: prepare the socket: %w", q.cfg.Queue, err)
	}
	// The library ends its goroutine when the context does or a callback says so.
	err = q.nf.RegisterWithErrorFunc(context.Background(), q.packet, func(err error) int {
		q.cfg.Window.Shut()
		defer q.cfg.Window.Open()
		if errors.Is(err, unix.ENOBUFS) { // a refusal was lost: see Mmsg.receive
			q.stats.VerdictErrors++
			q.stats.NoBuffers++
			return 0
		}
		q.end(err)
		return 1
	})
	if err != nil {
		return explainOpError(&q.cfg, err)
	}
	return nil
}

// end tells Run why the callbacks ended; the first reason counts.
func (q *Gonf) end(err error) {
	select {
	case q.ended <- err:
	default:
	}
}

// packet is the library's callback.
func (q *Gonf) packet(a nfqueue.Attribute) int {
	if !q.started {
		<-q.running
		q.started = true
	}
	q.cfg.Window.Shut()
	defer q.cfg.Window.Open()
	q.batch.Received = Now()
	p := &q.batch.Packets[0]
	if !p.fromAttribute(&a) {
		q.stats.Malformed++
		return 0
	}
	p.Queue = q.cfg.Queue
	q.stats.Batches++
	if err := q.handle(&q.batch); err != nil {
		q.end(err)
		return 1
	}
	return 0
}

func (p *Packet) fromAttribute(a *nfqueue.Attribute) bool {
	*p = Packet{}
	if a.PacketID == nil || a.Hook == nil {
		return false
	}
	p.ID, p.Hook = *a.PacketID, *a.Hook
	if a.Payload != nil {
		p.Payload = *a.Payload
	}
	p.Mark, _ = value(a.Mark)
	p.InDev, _ = value(a.InDev)
	p.OutDev, _ = value(a.OutDev)
	p.CapLen, _ = value(a.CapLen)
	p.UID, p.HasUID = value(a.UID)
	p.GID, p.HasGID = value(a.GID)
	if a.SkbInfo != nil && len(*a.SkbInfo) >= 4 {
		p.setSkbInfo(binary.BigEndian.Uint32(*a.SkbInfo))
	}
	if a.CtInfo != nil {
		p.CTInfo, p.HasCTInfo = CTInfo(*a.CtInfo), true
	}
	if a.Ct != nil {
		p.decodeCT(*a.Ct)
	}
	return true
}

func value(v *uint32) (uint32, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

// Run implements Queue; the packets are handled on the library's goroutine,
// which only closing its socket ends for sure.
func (q *Gonf) Run(handle func(*Batch) error) error {
	q.handle = handle
	close(q.running)
	err := <-q.ended
	if err := errors.Join(err, q.Close()); err != nil {
		return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
	}
	return nil
}

// Reply implements Queue.
func (q *Gonf) Reply(r *Reply) error {
	err := r.validate()
	switch {
	case err != nil:
	case r.Queue != q.cfg.Queue:
		err = ErrNoQueue
	case r.Verdict > 0xff:
		err = fmt.Errorf("requeue to queue %d: %w: go-nfqueue passes 8 of the verdict's 32 bits; use the mmsg backend", r.Verdict>>16, ErrUnsupported)
	case r.SetConnMark && r.ConnMarkMask != 1<<32-1:
		err = fmt.Errorf("some bits of the conntrack mark: %w: go-nfqueue sets all; use the mmsg backend", ErrUnsupported)
	case r.plain() && !r.SetMark:
		err = q.nf.SetVerdict(r.ID, int(r.Verdict))
	default:
		err = q.nf.SetVerdictWithOption(r.ID, int(r.Verdict), options(r)...)
	}
	if err != nil {
		return fmt.Errorf("queue %d: packet %d: %w", q.cfg.Queue, r.ID, err)
	}
	return nil
}

func options(r *Reply) []nfqueue.VerdictOption {
	var opts []nfqueue.VerdictOption
	if r.SetMark {
		opts = append(opts, nfqueue.WithMark(r.Mark))
	}
	if r.SetConnMark {
		opts = append(opts, nfqueue.WithConnMark(r.ConnMark))
	}
	if r.Payload != nil {
		opts = append(opts, nfqueue.WithAlteredPacket(r.Payload))
	}
	return opts
}

// Flush implements Queue; every Reply was sent at once.
func (q *Gonf) Flush() error { return nil }

// Stop implements Queue. The library stops in the middle of what has arrived,
// so the kernel's queue is given time to empty first.
func (q *Gonf) Stop() error {
	for end := time.Now().Add(drainFor); time.Now().Before(end); time.Sleep(time.Millisecond) {
		queues, err := ReadKernelQueues()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(queues, func(k KernelQueue) bool { return k.Queue == q.cfg.Queue && k.Queued > 0 }) {
			break
		}
	}
	q.end(nil)
	return nil
}

// Leave implements Queue. The library cannot be told to leave a packet: it is Stop.
func (q *Gonf) Leave() error { return q.Stop() }

// Close implements Queue; it waits for the library's goroutine.
func (q *Gonf) Close() error {
	if q.closed {
		return nil
	}
	q.closed = true
	if q.handle == nil {
		// Run was never called: let a callback that waits for it go.
		q.handle = func(*Batch) error { return errors.New("closed before it was run") }
		close(q.running)
	}
	if err := q.nf.Close(); err != nil {
		return fmt.Errorf("queue %d: close: %w", q.cfg.Queue, err)
	}
	return nil
}

// Stats implements Queue.
func (q *Gonf) Stats() statistics.Transport { return q.stats }

// ReceiveBuffer implements Queue.
func (q *Gonf) ReceiveBuffer() int { return int(q.receiveBuffer.Load()) }

// GrowReceiveBuffer implements Queue.
func (q *Gonf) GrowReceiveBuffer(size int) (granted int, err error) {
	if granted, err = setReceiveBuffer(q.nf.Con, size); err != nil {
		return granted, fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
	}
	q.receiveBuffer.Store(int64(granted))
	return granted, nil
}
