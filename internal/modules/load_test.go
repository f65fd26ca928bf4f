package modules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// opener fails so many times for each part, as a kernel does whose modprobe came back too early.
type opener struct {
	fails map[string]int
	with  error
	asked []string
}

func (o *opener) ask(p Part) error {
	o.asked = append(o.asked, p.Name)
	if o.fails[p.Name] == 0 {
		return nil
	}
	o.fails[p.Name]--
	return o.with
}

var errEarly = fmt.Errorf("%w: %w", ErrNotThere, unix.EPROTONOSUPPORT)

func TestLoadAsksAgain(t *testing.T) {
	o := &opener{fails: map[string]int{"queue": 3, "ctnetlink": loadAttempts - 1}, with: errEarly}
	var waited time.Duration
	err := load(t.Context(), o.ask, func(_ context.Context, d time.Duration) error { waited += d; return nil }, []Part{PartQueue, PartTables, PartConntrack})
	if err != nil {
		t.Error(err)
	}
	want := slices.Concat(slices.Repeat([]string{"queue"}, 4), []string{"nftables"}, slices.Repeat([]string{"ctnetlink"}, loadAttempts))
	if !slices.Equal(o.asked, want) {
		t.Errorf("asked %v, want %v: one part after the other", o.asked, want)
	}
	if limit := 3 * time.Second; waited > limit || waited == 0 {
		t.Errorf("waits %v, want some time up to %v", waited, limit)
	}
}

func TestLoadIsBounded(t *testing.T) {
	o := &opener{fails: map[string]int{"queue": 1 << 30}, with: errEarly}
	err := load(t.Context(), o.ask, func(context.Context, time.Duration) error { return nil }, []Part{PartQueue, PartTables})
	if !errors.Is(err, ErrNotThere) || !errors.Is(err, unix.EPROTONOSUPPORT) || !strings.Contains(err.Error(), "nfnetlink-subsys-3") {
		t.Errorf("%v, want ErrNotThere with the errno and what modprobe was asked for", err)
	}
	if len(o.asked) != loadAttempts {
		t.Errorf("asked %d times, want %d", len(o.asked), loadAttempts)
	}
}

func TestLoadStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := &opener{fails: map[string]int{"queue": 1 << 30}, with: errEarly}
	if err := load(ctx, o.ask, pause, []Part{PartQueue}); !errors.Is(err, context.Canceled) || len(o.asked) != 1 {
		t.Errorf("%v after %d attempts", err, len(o.asked))
	}
}

// What is no sign of a missing module is for who needs the part: an EPERM may be known to be harmless there.
func TestLoadLeavesOtherErrors(t *testing.T) {
	o := &opener{fails: map[string]int{"queue": 1 << 30}, with: unix.EPERM}
	if err := load(t.Context(), o.ask, pause, []Part{PartQueue}); err != nil || len(o.asked) != 1 {
		t.Errorf("%v after %d attempts", err, len(o.asked))
	}
}

func TestPartsByName(t *testing.T) {
	for name, want := range map[string]string{"xfrm": "net-pf-16-proto-6", "XFRM": "net-pf-16-proto-6", "6": "net-pf-16-proto-6", "31": "net-pf-16-proto-31"} {
		if p, err := ProtocolPart(name); err != nil || p.Alias() != want {
			t.Errorf("protocol %s: %s, %v", name, p.Alias(), err)
		}
	}
	for _, name := range []string{"32", "-1", "ipsec", ""} {
		if _, err := ProtocolPart(name); err == nil || !strings.Contains(err.Error(), "0 to 31") {
			t.Errorf("protocol %q: %v", name, err)
		}
	}
	if p, err := SubsystemPart("log"); err != nil || p.Alias() != "nfnetlink-subsys-4" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := SubsystemPart("ipset"); err == nil || !strings.Contains(err.Error(), "queue, ctnetlink, log, nftables") {
		t.Error(err)
	}
}

// A subsystem that no kernel has.
func TestAskMissingSubsystem(t *testing.T) {
	err := Part{Name: "none", Protocol: unix.NETLINK_NETFILTER, subsystem: 31, request: 1}.Ask()
	switch {
	case errors.Is(err, unix.EPERM): // not root of this namespace
	case !errors.Is(err, ErrNotThere) || !errors.Is(err, unix.EINVAL):
		t.Errorf("%v, want ErrNotThere with EINVAL", err)
	}
}
