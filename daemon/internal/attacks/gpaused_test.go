package attacks

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Guards that stand still: stopped alone, or together with the program that they guard.

// judged is a program on a host, guarded in the run's mode, and who receives what it accepts.
func judged(r *run, c foreignConfig) (h hosts, f *foreign, in *sink) {
	r.Helper()
	h = oneHost(r, "ipv4")
	c.Queue = foreignQueue
	queueTo(r, h.Queue, "OUTPUT", foreignQueue)
	f = startForeign(r, h.Queue, c)
	r.before(h.Queue, fmt.Sprint(foreignQueue))
	return h, f, listen(r, h.Receiver, h.target(port))
}

// wantReasons checks that all of 20 bursts of 4 packets went on for their reason, in order and without clashes.
func (o *outcome) wantReasons(t *testing.T) {
	t.Helper()
	if g := o.statistics.Gate.Total; g.Expired != 0 || o.arrived != 80 || o.duplicated+o.reordered+int(o.clashes) != 0 {
		t.Errorf("%v; want 80 packets of which none went on by the clock, and no clashes", *o)
	}
}

// TestGuardStoppedWhileJudged: the guard does not run for longer than packets may be held, as beside a heavy neighbour
// or in a frozen container, and what they are held for happens meanwhile. When it goes on it looks before it counts the
// time, so that they go on for their reason.
func TestGuardStoppedWhileJudged(t *testing.T) {
	const limit = time.Second
	_, hold, both := bothModes(t, fmt.Sprintf("hold: 500ms, hold_limit: %v", limit), func(r *run) outcome {
		h, f, in := judged(r, foreignConfig{})
		f.Signal(syscall.SIGSTOP)
		burst{to: h.target(port), flows: 20, packets: 4}.send(r, h.Sender)
		awaitQueued(r, h.Queue, 80)
		if r.child != nil {
			r.child.Signal(syscall.SIGSTOP)
		}
		f.Signal(syscall.SIGCONT)
		eventually(r, "the other program's verdicts", func() bool { return waiting(r, h.Queue, foreignQueue) == 0 })
		if r.child != nil {
			time.Sleep(limit)
			r.child.Signal(syscall.SIGCONT)
		}
		return r.endBefore(in, 80)
	})
	if both {
		hold.wantReasons(t)
	}
}

// TestPausedTogether: guard and program stand still at once, as in a container that is paused, while the program has
// packets. That it has judged nothing for long is no reason to try whether it wants a second packet.
func TestPausedTogether(t *testing.T) {
	_, hold, both := bothModes(t, "hold: 1s", func(r *run) outcome {
		h, f, in := judged(r, foreignConfig{Delay: 600 * time.Millisecond})
		burst{to: h.target(port), flows: 20, packets: 4}.send(r, h.Sender)
		awaitQueued(r, h.Queue, 80)
		time.Sleep(50 * time.Millisecond) // the program reads what it has
		pause := func(sig syscall.Signal) {
			if r.child != nil {
				r.child.Signal(sig)
				time.Sleep(100 * time.Millisecond)
			}
			f.Signal(sig)
		}
		pause(syscall.SIGSTOP)
		time.Sleep(3 * time.Second)
		pause(syscall.SIGCONT)
		return r.endBefore(in, 80)
	})
	if both {
		hold.wantReasons(t)
	}
}

// TestPausedWhileItStops: a guard that is told to end waits for what it holds, and stands still then together with the
// program that has it. That is no wait: they go on for their reason when the program judges again.
func TestPausedWhileItStops(t *testing.T) {
	_, hold, both := bothModes(t, "hold: 2500ms", func(r *run) outcome {
		h, f, in := judged(r, foreignConfig{})
		f.Signal(syscall.SIGSTOP)
		burst{to: h.target(port), flows: 20, packets: 4}.send(r, h.Sender)
		awaitQueued(r, h.Queue, 80)
		if r.child != nil {
			r.child.Signal(syscall.SIGTERM)
			time.Sleep(1500 * time.Millisecond) // first it waits for what is on its way (Hush)
			r.child.Signal(syscall.SIGSTOP)
			time.Sleep(2 * time.Second)
			r.child.Signal(syscall.SIGCONT)
			time.Sleep(200 * time.Millisecond) // the guard is the first that goes on
		}
		f.Signal(syscall.SIGCONT)
		return r.endBefore(in, 80)
	})
	if both {
		hold.wantReasons(t)
	}
}
