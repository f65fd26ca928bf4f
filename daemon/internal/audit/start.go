package audit

import (
	"context"
	"errors"
	"os"
)

// errNotAsked is instead of what programs answer at a daemon's start.
var errNotAsked = errors.New("not asked at the start of the daemon")

// AtStart is the answer for a daemon that starts: it runs no programs (rpm's
// changelog and the version of kmod stay unknown) and searches no processes. The
// clashes of packets in the guarded queues are not counted, as the daemon's own gate
// prevents them, which need not be there yet.
func AtStart(ctx context.Context, guarded []uint16) (Answer, *Machine) {
	m := read(ctx, os.DirFS("/"), func(context.Context, string, ...string) ([]byte, error) { return nil, errNotAsked })
	m.guarded = guarded
	m.conclude()
	return Judge(m), m
}

// asked: an error that is not [AtStart]'s own.
func asked(err error) error {
	if errors.Is(err, errNotAsked) {
		return nil
	}
	return err
}
