package cli

import (
	"context"
	"os/signal"

	"golang.org/x/sys/unix"
)

// UntilStopped returns a context that ends when the program is to stop in order: by INT, by TERM, or by HUP, which says
// that its terminal has gone, unless HUP is ignored from the start, as nohup(1) has it. The signals stay caught until
// the returned function is called.
func UntilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	if signal.Ignored(unix.SIGHUP) {
		return ctx, stop
	}
	hup, end := signal.NotifyContext(ctx, unix.SIGHUP)
	return hup, func() {
		end()
		stop()
	}
}
