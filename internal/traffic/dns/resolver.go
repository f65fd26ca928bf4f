package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// outcome is what became of one resolution.
type outcome struct {
	took    time.Duration
	ok      bool // both addresses were learnt
	retried bool // a question was asked more than once
	wrong   bool // an answer was not that to its question
}

// client resolves names on one thread.
type client interface {
	// resolve returns an error when it cannot go on: the context is cancelled, or the instrument is broken.
	resolve(ctx context.Context, i int) (outcome, error)
}

// Sent is what the built-in client asked.
type Sent struct {
	A        uint64 `json:"a"`
	AAAA     uint64 `json:"aaaa"`
	Repeated uint64 `json:"repeated"` // among those
	// Late is answers that came when the question had been answered already, or another resolution had begun.
	Late uint64 `json:"late_answers"`
}

// tally is what the clients of a run count together.
type tally struct {
	mu     sync.Mutex
	sent   Sent
	errors map[string]uint64 // by the name of the kernel's error
}

func (t *tally) count(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// refused counts an error of a socket: the kernel refused a packet, or reports what became of an earlier one.
func (t *tally) refused(err error) {
	name := "other"
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		name = unix.ErrnoName(errno)
	}
	t.count(func() { t.errors[name]++ })
}

// resolver is the built-in client. Its sockets are of the namespace that its thread is in.
type resolver struct {
	cfg *Config
	naming
	tally *tally
	buf   [dns.MinMsgSize * 2]byte
}

// question is one of the two of a resolution.
type question struct {
	kind     uint16
	packed   []byte
	id       uint16
	want     netip.Addr
	asked    int
	answered bool
	wrong    bool
}

func (r *resolver) resolve(ctx context.Context, i int) (outcome, error) {
	name := r.name(i)
	a, aaaa := addresses(i)
	questions := []*question{{kind: dns.TypeA, want: a}, {kind: dns.TypeAAAA, want: aaaa}}
	first := uint16(rand.Uint32())
	for k, q := range questions {
		m := new(dns.Msg).SetQuestion(name, q.kind)
		q.id = first + uint16(k) // two that differ
		m.Id = q.id
		var err error
		if q.packed, err = m.Pack(); err != nil {
			return outcome{}, fmt.Errorf("make a question about %s: %w", name, err)
		}
	}
	begun := time.Now()
	err := r.ask(ctx, questions)
	o := outcome{took: time.Since(begun), ok: true}
	for _, q := range questions {
		o.ok = o.ok && q.answered && !q.wrong
		o.wrong = o.wrong || q.wrong
		o.retried = o.retried || q.asked > 1
	}
	return o, err
}

// ask sends the questions as configured, until they are answered or the attempts are used up.
func (r *resolver) ask(ctx context.Context, questions []*question) error {
	if r.cfg.Queries == Separate {
		return r.askApart(ctx, questions)
	}
	conn, err := r.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // a UDP socket has nothing to flush
	for range r.cfg.Attempts {
		if r.cfg.Queries == Parallel {
			if done, err := r.attempt(ctx, conn, questions); done || err != nil {
				return err
			}
			continue
		}
		for k, q := range questions {
			if k > 0 && r.cfg.Queries == SingleRequestReopen {
				next, err := r.dial()
				if err != nil {
					return err
				}
				_ = conn.Close() // likewise
				conn = next
			}
			done, err := r.attempt(ctx, conn, []*question{q})
			if err != nil {
				return err
			}
			if !done {
				break // the same again, and then the other
			}
		}
		if questions[0].answered && questions[1].answered {
			return nil
		}
	}
	return nil
}

// askApart asks each question from a socket of its own, at the same time.
func (r *resolver) askApart(ctx context.Context, questions []*question) error {
	ended := make(chan error, len(questions))
	under := 0
	var first error
	for _, q := range questions {
		conn, err := r.dial() // on this thread, which is in the sender's namespace
		if err != nil {
			first = err
			break
		}
		under++
		go func() {
			defer func() { _ = conn.Close() }() // likewise
			one := *r
			var err error
			for done, n := false, 0; !done && err == nil && n < r.cfg.Attempts; n++ {
				done, err = one.attempt(ctx, conn, []*question{q})
			}
			ended <- err
		}()
	}
	for range under {
		if err := <-ended; first == nil {
			first = err
		}
	}
	return first
}

func (r *resolver) dial() (*net.UDPConn, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.cfg.server()))
	if err != nil {
		return nil, fmt.Errorf("open a socket to the server: %w", err)
	}
	return conn, nil
}

// attempt sends what is not answered yet, all at once, and says whether answers to all of it came in time.
func (r *resolver) attempt(ctx context.Context, conn *net.UDPConn, questions []*question) (done bool, err error) {
	deadline := time.Now().Add(r.cfg.AttemptTimeout)
	if err := conn.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })() // fails on a closed socket, which nobody reads
	for _, q := range questions {
		if !q.answered {
			r.send(conn, q)
		}
	}
	for {
		if all(questions) {
			return true, nil
		}
		n, err := conn.Read(r.buf[:])
		switch {
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false, nil
		case err != nil:
			r.tally.refused(err) // an ICMP error about a question; the answer may come yet
			continue
		}
		r.take(r.buf[:n], questions)
	}
}

func all(questions []*question) bool {
	for _, q := range questions {
		if !q.answered {
			return false
		}
	}
	return true
}

func (r *resolver) send(conn *net.UDPConn, q *question) {
	q.asked++
	r.tally.count(func() {
		if q.kind == dns.TypeA {
			r.tally.sent.A++
		} else {
			r.tally.sent.AAAA++
		}
		if q.asked > 1 {
			r.tally.sent.Repeated++
		}
	})
	if _, err := conn.Write(q.packed); err != nil {
		r.tally.refused(err)
	}
}

// take finds the question that a packet answers.
func (r *resolver) take(packet []byte, questions []*question) {
	var m dns.Msg
	if err := m.Unpack(packet); err != nil || !m.Response {
		r.tally.count(func() { r.tally.sent.Late++ })
		return
	}
	for _, q := range questions {
		if q.answered || q.id != m.Id {
			continue
		}
		q.answered = true
		q.wrong = !answers(&m, q)
		return
	}
	r.tally.count(func() { r.tally.sent.Late++ })
}

// answers says whether the message has the one address that the question is about.
func answers(m *dns.Msg, q *question) bool {
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		return false
	}
	switch rr := m.Answer[0].(type) {
	case *dns.A:
		a, _ := netip.AddrFromSlice(rr.A.To4())
		return q.kind == dns.TypeA && a == q.want
	case *dns.AAAA:
		a, _ := netip.AddrFromSlice(rr.AAAA)
		return q.kind == dns.TypeAAAA && a == q.want
	}
	return false
}
