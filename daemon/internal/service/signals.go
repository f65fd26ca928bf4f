package service

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Signals are what the process is told by signal, from Listen on. None of them ends it by
// itself: TERM and INT ask for the stop in order, and so does QUIT, after a dump of all
// stacks; HUP asks a service to reload, and USR1 to write its statistics. A write to a
// pipe that nobody reads any more, as stderr may be, fails and does not kill (PIPE).
type Signals struct {
	stop, end     context.Context
	reload, write chan struct{}
}

// Listen catches the signals: the first thing that a program does.
func Listen(stderr io.Writer) *Signals {
	s := &Signals{reload: make(chan struct{}, 1), write: make(chan struct{}, 1)}
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGPIPE)
	var stop, end context.CancelFunc
	s.stop, stop = context.WithCancel(context.Background())
	s.end, end = context.WithCancel(s.stop)
	go func() {
		for which := range caught {
			switch which {
			case unix.SIGHUP:
				ask(s.reload)
				end()
			case unix.SIGUSR1:
				ask(s.write)
			case unix.SIGPIPE:
			case unix.SIGQUIT:
				dumpStacks(stderr)
				fallthrough
			default:
				stop()
			}
		}
	}()
	return s
}

// Stop is for a service: it ends with TERM, INT and QUIT.
func (s *Signals) Stop() context.Context { return s.stop }

// End is for a program that is no service: HUP, which tells that its terminal has gone,
// ends it too.
func (s *Signals) End() context.Context { return s.end }

// ask puts a wish where it is not there yet: several are as good as one.
func ask(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	// stacksMost bounds a dump, in bytes, and dumpWithin how long it may take: nobody
	// may read what is written.
	stacksMost = 64 << 20
	dumpWithin = 5 * time.Second
)

func dumpStacks(w io.Writer) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		for size := 1 << 20; ; size *= 2 {
			b := make([]byte, size)
			if n := runtime.Stack(b, true); n < size || size >= stacksMost {
				fmt.Fprintf(w, "SIGQUIT: the stacks of all threads, and then the stop\n\n%s\n", b[:n])
				return
			}
		}
	}()
	select {
	case <-written:
	case <-time.After(dumpWithin):
	}
}
