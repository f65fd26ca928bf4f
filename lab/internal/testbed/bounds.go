package testbed

import "fmt"

const (
	// Outstanding is how many flows are under way at most. Their packets wait in the queue together, which keeps a
	// flow's later packets behind its first one: the more, the surer is the clash without a guard.
	Outstanding = 64

	// Port is where the bursts go, and all that the rules queue. It is discard's.
	Port = 9
)

// Bounds on what can be asked for: the kernel numbers queues in 16 bits, and a burst has to fit into one.
const (
	MaxQueues = 1024
	MaxBurst  = 256
	MaxFlows  = 1_000_000 // what the source addresses have ports for
)

// Within says that a setting's number is out of its range. It is named by its flag.
func Within(flag string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s %d is not within %d to %d", flag, n, low, high)
	}
	return nil
}
