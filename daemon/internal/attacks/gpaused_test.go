package attacks

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Guards that stand still: stopped alone, or together with the program that they guard.

// TestGuardStoppedWhileJudged: the guard does not run for longer than packets may be held, as beside a heavy neighbour
// or in a frozen container, and what they are held for happens meanwhile. When it goes on it looks before it counts the
// time, so that they go on for their reason.
func TestGuardStoppedWhileJudged(t *testing.T) {
	const limit = time.Second
	_, hold, both := bothModes(t, fmt.Sprintf("hold: 500ms, hold_limit: %v", limit), func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
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
	if !both {
		return
	}
	if g := hold.statistics.Gate.Total; g.Expired != 0 || hold.arrived != 80 || hold.duplicated+hold.reordered+int(hold.clashes) != 0 {
		t.Errorf("%v; want 80 packets of which none went on by the clock, and no clashes", hold)
	}
}

// TestPausedTogether: guard and program stand still at once, as in a container that is paused, while the program has
// packets. That it has judged nothing for long is no reason to try whether it wants a second packet.
func TestPausedTogether(t *testing.T) {
	_, hold, both := bothModes(t, "hold: 1s", func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 600 * time.Millisecond})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
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
	if !both {
		return
	}
	if g := hold.statistics.Gate.Total; g.Expired != 0 || hold.arrived != 80 || hold.duplicated+hold.reordered+int(hold.clashes) != 0 {
		t.Errorf("%v; want 80 packets of which none went on by the clock, and no clashes", hold)
	}
}

// TestPausedWhileItStops: a guard that is told to end waits for what it holds, and stands still then together with the
// program that has it. That is no wait: they go on for their reason when the program judges again.
func TestPausedWhileItStops(t *testing.T) {
	_, hold, both := bothModes(t, "hold: 1500ms", func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
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
	if both && (hold.arrived != 80 || hold.duplicated+hold.reordered+int(hold.clashes) != 0) {
		t.Errorf("%v; want 80 packets and no clashes", hold)
	}
}
