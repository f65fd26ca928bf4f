package journal_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// settings are a daemon's configuration. Its queues take what comes while there is none. The gate is patient: on a busy
// machine a start takes seconds, for which packets wait that then expire, and clash.
func settings(guard string, queues int, more string) string {
	if guard == "hold" {
		guard = "hold, hold: 30s, hold_limit: 60s"
	}
	return fmt.Sprintf(`
queues: {first: 0, count: %d, max_length: 65535, receive_buffer: 67108864}
guard: {mode: %s}
rules: {placement: output, fanout: balance, destination_ports: [%d, %d]}
policy:
  rules:
    - {name: forbidden, action: drop, destination_ports: [%d]}
%s`, queues, guard, port, forbidden, forbidden, more)
}

func (l *load) queued() (n int) { return l.queuedIn(allQueues) }

const allQueues = -1

// queuedIn is how many packets wait in a queue.
func (l *load) queuedIn(queue int) (n int) {
	_ = l.ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			if queue == allQueues || int(q.Queue) == queue {
				n += int(q.Queued)
			}
		}
		return err
	})
	return n
}

// rate is in packets a second; VERDICTD_TEST_RATE is another one.
func rate(t *testing.T) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("VERDICTD_TEST_RATE")); err == nil {
		return n
	}
	return 5000
}

// clean looks whether a stop for good has left anything.
func (k *keeper) clean() {
	k.t.Helper()
	if err := k.ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		if err == nil && len(queues) > 0 {
			k.t.Errorf("queues after the stop: %+v", queues)
		}
		return err
	}); err != nil {
		k.t.Error(err)
	}
	if names, refused := k.store.Names(); len(names) > 0 || refused > 0 {
		k.t.Errorf("kept after the stop: %v; refused %d", names, refused)
	}
}

// TestRestarts ends the daemon again and again in the middle of traffic, in each of the
// ways in which one ends that another goes on with.
func TestRestarts(t *testing.T) {
	for _, mode := range []string{"off", "hold"} {
		for _, way := range []struct {
			name   string
			signal syscall.Signal
			gap    time.Duration
			early  int // daemons that are ended while they start
		}{
			{"killed", syscall.SIGKILL, 0, 0},
			{"killed, gap", syscall.SIGKILL, 100 * time.Millisecond, 0},
			{"killed at the start", syscall.SIGKILL, 0, 3},
			{"handed over", syscall.SIGUSR2, 0, 0},
			{"handed over, gap", syscall.SIGUSR2, 100 * time.Millisecond, 0},
		} {
			t.Run(mode+" "+way.name, func(t *testing.T) {
				ns := testkit.Namespace(t)
				k := newKeeper(t, ns, settings(mode, 1, ""))
				l := begin(t, ns, rate(t), mode == "hold")
				l.clashing = mode == "off"
				for range times() {
					time.Sleep(time.Duration(50+rand.IntN(200)) * time.Millisecond)
					k.end(way.signal)
					time.Sleep(way.gap)
					for range way.early {
						k.launch()
						time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
						k.end(way.signal)
					}
					k.start()
				}
				if wrong := l.finish(); wrong != "" {
					t.Error(wrong)
				}
				k.end(syscall.SIGTERM)
				k.clean()
			})
		}
	}
}

// times is how often; VERDICTD_TEST_TIMES is another number.
func times() int {
	if n, err := strconv.Atoi(os.Getenv("VERDICTD_TEST_TIMES")); err == nil {
		return n
	}
	return 3
}
