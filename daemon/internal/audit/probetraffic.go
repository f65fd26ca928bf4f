package audit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"verdictd/internal/nfq"
)

// quiet is how long a round waits for its next packet before it takes the rest
// for lost.
const quiet = 500 * time.Millisecond

// traffic sends flows in rounds. While a round is sent no verdict is given, so
// that every packet behind a flow's first has an entry of its own.
func (p *Probe) traffic(ctx context.Context, q nfq.Queue) (err error) {
	var sending sync.Mutex
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(func(b *nfq.Batch) error {
			sending.Lock()
			defer sending.Unlock()
			return acceptAll(q, b)
		})
	}()
	defer func() { err = errors.Join(err, q.Stop(), <-ended) }()

	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), probePort))
	in, err := net.ListenUDP("udp4", to)
	if err != nil {
		return fmt.Errorf("receive the probe's packets: %w", err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for p.Flows < probeFlows && ctx.Err() == nil {
		sending.Lock()
		sent, err := sendRound(to)
		sending.Unlock()
		p.Flows, p.Sent = p.Flows+flowsPerRound, p.Sent+sent
		if err != nil {
			return err
		}
		if err := p.receive(in, sent); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func acceptAll(q nfq.Queue, b *nfq.Batch) error {
	for i := range b.Packets {
		if err := q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Queue: b.Packets[i].Queue, Verdict: nfq.Accept}); err != nil {
			return err
		}
	}
	return q.Flush()
}

// sendRound sends each flow's packets at once; the kernel queues them in the
// sender's own system call.
func sendRound(to *net.UDPAddr) (sent int, err error) {
	for range flowsPerRound {
		out, err := net.DialUDP("udp4", nil, to)
		if err != nil {
			return sent, fmt.Errorf("open a flow of the probe: %w", err)
		}
		for range packetsPerFlow {
			if _, err := out.Write([]byte("probe")); err != nil {
				return sent, errors.Join(fmt.Errorf("send the probe's packets: %w", err), out.Close())
			}
			sent++
		}
		if err := out.Close(); err != nil {
			return sent, fmt.Errorf("close a flow of the probe: %w", err)
		}
	}
	return sent, nil
}

// receive counts a round's packets until all are there or it is quiet.
func (p *Probe) receive(in *net.UDPConn, expected int) error {
	b := make([]byte, 16)
	for range expected {
		if err := in.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return fmt.Errorf("receive the probe's packets: %w", err)
		}
		_, err := in.Read(b)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil
		case err != nil:
			return fmt.Errorf("receive the probe's packets: %w", err)
		}
		p.Delivered++
	}
	return nil
}
