package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// window is how long a command counts, and how it prints what it counted.
type window struct {
	JSON     bool          `name:"json" help:"Print JSON."`
	Duration time.Duration `help:"Count for so long, e.g. 10s. Without it: until SIGINT or SIGTERM."`
}

// shortestInterval bounds what reading costs.
const shortestInterval = 50 * time.Millisecond

// checkInterval is for the time between samples; 0: there are none.
func checkInterval(d time.Duration) error {
	if d != 0 && d < shortestInterval {
		return fmt.Errorf("--interval %v: want %v or more", d, shortestInterval)
	}
	return nil
}

// context ends when the window does.
func (w window) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.Duration == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, w.Duration)
}

// textWriter is a result that can write itself for people.
type textWriter interface {
	WriteText(io.Writer) error
}

// print writes a result, as JSON or as text.
func (w window) print(out output, result textWriter) error {
	if !w.JSON {
		return writeText(out, result)
	}
	enc := json.NewEncoder(out.results)
	enc.SetIndent("", "  ")
	if err := enc.Encode(result); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// writeText writes a result for people.
func writeText(out output, result textWriter) error {
	if err := result.WriteText(out.results); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// ready tells the service manager, or whoever else set NOTIFY_SOCKET, that counting has begun.
func ready() error {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("tell NOTIFY_SOCKET that counting has begun: %w", err)
	}
	return nil
}
