package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
)

// Queue takes a queue over that another process has left (taken), or binds it, and has it
// kept.
// Its packets are in Config.Memory, which is the result's.
//
// Errors: *nfq.InUseError where another process holds the queue.
func (k *Kept) Queue(kind string, cfg nfq.Config) (_ *nfq.Mmsg, taken bool, err error) {
	q, taken, err := k.queue(kind, cfg)
	if err != nil {
		return nil, false, err
	}
	if !taken {
		// The journal is kept first: see the package's documentation.
		err = errors.Join(k.Keep(name(memories(kind)[0], cfg.Queue), q.memory.Descriptor()), k.Keep(name(kind, cfg.Queue), q.Descriptor()))
	}
	if err != nil {
		return nil, false, errors.Join(err, q.Close())
	}
	return q.Mmsg, taken, nil
}

// journaled is a queue with its memory.
type journaled struct {
	*nfq.Mmsg
	memory *Memory
}

func (k *Kept) queue(kind string, cfg nfq.Config) (q journaled, taken bool, err error) {
	socket, journal := k.take(name(kind, cfg.Queue)), k.take(name(memories(kind)[0], cfg.Queue))
	if socket != nil && journal != nil {
		q, err = takeOver(cfg, socket, journal)
		if err == nil {
			k.log.Info("a queue is taken over", "kind", kind, "queue", cfg.Queue)
			return q, true, nil
		}
		k.log.Warn("a queue that was kept cannot be taken over: it is bound as after a reboot, and what waited in it is lost",
			"kind", kind, "queue", cfg.Queue, "error", err)
	} else if socket != nil {
		k.log.Warn("a queue was kept without its journal: it is bound as after a reboot, and what waited in it is lost", "kind", kind, "queue", cfg.Queue)
	}
	if socket != nil {
		// The kernel unbinds it at once, not when the keeper has closed it.
		if err := nfq.Unbind(int(socket.Fd()), append([]uint16{cfg.Queue}, cfg.MoreQueues...)...); err != nil {
			k.log.Warn("unbind a queue that was kept", "queue", cfg.Queue, "error", err)
		}
	}
	errs := []error{closeFile(socket), closeFile(journal), k.forget(name(kind, cfg.Queue)), k.forget(name(memories(kind)[0], cfg.Queue))}
	if err := errors.Join(errs...); err != nil {
		return q, false, fmt.Errorf("give up what was kept of queue %d: %w", cfg.Queue, err)
	}
	if q.memory, err = NewMemory(name(memories(kind)[0], cfg.Queue)); err != nil {
		return q, false, err
	}
	cfg.Memory = q.memory
	if q.Mmsg, err = nfq.OpenMmsg(cfg); err != nil {
		return q, false, errors.Join(err, q.memory.Close())
	}
	return q, false, nil
}

func takeOver(cfg nfq.Config, socket, journal *os.File) (q journaled, err error) {
	if q.memory, err = OpenMemory(journal); err != nil {
		return q, err
	}
	// The queue closes its descriptor by itself, so it gets one of its own.
	if cfg.Socket, err = duplicate(socket); err != nil {
		return q, err
	}
	cfg.Memory = q.memory
	if q.Mmsg, err = nfq.OpenMmsg(cfg); err != nil {
		return q, errors.Join(err, unix.Close(cfg.Socket))
	}
	return q, socket.Close()
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

func duplicate(f *os.File) (fd int, err error) {
	fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("duplicate the descriptor of %s: %w", f.Name(), err)
	}
	return fd, nil
}
