package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
)

// signals are what the program is told by signal. None of them ends it by itself: TERM
// and INT ask for the end in order, and so does QUIT, after a dump of all stacks. HUP does
// where it tells that a terminal has gone; to a service it says nothing, as namespaces are
// looked for at each reading. USR1 has stats write what it has counted so far.
type signals struct {
	// write has a value when USR1 came.
	write chan struct{}
}

// stacksMost bounds a dump, in bytes.
const stacksMost = 16 << 20

// catch catches the signals until the returned function is called. The context ends when
// the program is to end.
func catch(ctx context.Context, remarks io.Writer, terminal bool) (_ context.Context, s *signals, stop func()) {
	ctx, end := context.WithCancel(ctx)
	s = &signals{write: make(chan struct{}, 1)}
	caught := make(chan os.Signal, 16)
	which := []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1}
	if !signal.Ignored(unix.SIGHUP) { // as nohup has it
		which = append(which, unix.SIGHUP)
	}
	signal.Notify(caught, which...)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case got := <-caught:
				switch {
				case got == unix.SIGUSR1:
					select {
					case s.write <- struct{}{}:
					default: // it is about to be written
					}
				case got == unix.SIGHUP && !terminal:
				case got == unix.SIGQUIT:
					b := make([]byte, stacksMost)
					fmt.Fprintf(remarks, "SIGQUIT: the stacks of all threads, and then the end\n\n%s\n", b[:runtime.Stack(b, true)])
					end()
				default:
					end()
				}
			}
		}
	}()
	return ctx, s, func() {
		signal.Stop(caught)
		end()
	}
}

// hasTerminal reports whether somebody sits before the program.
func hasTerminal() bool { return cli.IsTerminal(os.Stdin) }
