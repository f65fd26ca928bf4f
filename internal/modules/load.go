package modules

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The bounds of [Load]: 8 attempts within 1.3 s, and the time that modprobe takes.
const (
	loadAttempts = 8
	loadFirstGap = 10 * time.Millisecond
)

// Load has the kernel load what is behind the parts, one part after the other, before any thread opens a socket of them
// for its work. It returns [ErrNotThere] for the first part that does not come.
//
// Asking once is not enough, and asking from several threads at a time is worse:
//
//   - modprobe of kmod up to 19 takes a module for built in as long as /sys/module/NAME exists and its initstate does
//     not, and returns at once (fd44a98ae2eb, kmod 20). The kernel then looks for the protocol, which is not registered
//     yet, and socket() fails with EPROTONOSUPPORT. It takes two who need the module at the same time; the other one
//     may be another program, so one thread of our own does not suffice.
//   - A subsystem of nfnetlink that is missing after request_module gets EINVAL, the same as a request that is wrong.
//   - The kernel runs 50 modprobes at once at most. Before 4.13 it refuses more, and the socket fails with
//     EPROTONOSUPPORT.
//
// So after ErrNotThere it waits a little and asks again, a bounded number of times. An error of another kind is for the
// one who needs the part to meet and explain.
func Load(ctx context.Context, parts ...Part) error { return LoadBy(ctx, Part.Ask, parts...) }

// LoadBy is Load with another way to ask, such as one that counts or that stands for a kernel.
func LoadBy(ctx context.Context, ask func(Part) error, parts ...Part) error {
	return load(ctx, ask, pause, parts)
}

func load(ctx context.Context, ask func(Part) error, pause func(context.Context, time.Duration) error, parts []Part) error {
	for _, p := range parts {
		if err := loadOne(ctx, ask, pause, p); err != nil {
			return fmt.Errorf("load what %s needs (%s): %w", p.Name, p.Alias(), err)
		}
	}
	return nil
}

func loadOne(ctx context.Context, ask func(Part) error, pause func(context.Context, time.Duration) error, p Part) error {
	gap := loadFirstGap
	for attempt := 1; ; attempt++ {
		err := ask(p)
		switch {
		case !errors.Is(err, ErrNotThere):
			return nil
		case attempt == loadAttempts:
			return fmt.Errorf("%w; asked %d times", err, attempt)
		}
		if stopped := pause(ctx, gap); stopped != nil {
			return errors.Join(stopped, err)
		}
		gap *= 2
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
