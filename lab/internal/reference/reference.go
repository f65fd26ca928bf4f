package reference

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Config says what the program does.
type Config struct {
	Queues    uint16        // from 0 on
	MaxLength uint32        // of each
	Delay     time.Duration // over each packet
}

// receiveBuffer is what nfq_reference asks for.
const receiveBuffer = 8 << 20

// Run accepts every packet until the context ends.
func Run(ctx context.Context, c Config) (err error) {
	failed := make(chan error, 1)
	for queue := range c.Queues {
		nf, openErr := c.bind(ctx, queue, failed)
		if openErr != nil {
			return fmt.Errorf("queue %d: %w", queue, openErr)
		}
		defer func() { err = errors.Join(err, nf.Close()) }()
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("say that the queues are bound: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// bind receives from one queue on a goroutine of the library's.
func (c *Config) bind(ctx context.Context, queue uint16, failed chan<- error) (*nfqueue.Nfqueue, error) {
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue: queue, MaxQueueLen: c.MaxLength, MaxPacketLen: 0xffff, Copymode: nfqueue.NfQnlCopyPacket,
		AfFamily: unix.AF_UNSPEC,
	})
	if err != nil {
		return nil, err
	}
	fail := func(err error) int {
		select {
		case failed <- err:
		default:
		}
		return 1
	}
	accept := func(a nfqueue.Attribute) int {
		if c.Delay > 0 {
			time.Sleep(c.Delay)
		}
		if a.PacketID == nil {
			return 0
		}
		if err := nf.SetVerdict(*a.PacketID, nfqueue.NfAccept); err != nil {
			return fail(fmt.Errorf("give a verdict: %w", err))
		}
		return 0
	}
	if err := nf.SetOption(netlink.NoENOBUFS, true); err != nil {
		return nil, errors.Join(err, nf.Close())
	}
	if err := nf.Con.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(err, nf.Close())
	}
	if err := nf.RegisterWithErrorFunc(ctx, accept, func(err error) int {
		if ctx.Err() != nil {
			return 1
		}
		return fail(fmt.Errorf("receive: %w", err))
	}); err != nil {
		return nil, errors.Join(err, nf.Close())
	}
	return nf, nil
}
