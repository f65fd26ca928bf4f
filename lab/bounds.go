package main

import "fmt"

const (
	// outstanding is how many flows are under way at most. Their packets wait in the queue together, which keeps a flow's
	// later packets behind its first one: the more, the surer is the clash without a guard.
	outstanding = 64

	// port is where the bursts go, and all that the rules queue. It is discard's.
	port = 9
)

// Bounds on what can be asked for: the kernel numbers queues in 16 bits, and a burst has to fit into one.
const (
	maxQueues = 1024
	maxBurst  = 256
	maxFlows  = 1_000_000 // what the source addresses have ports for
)

// within says that a setting's number is out of its range. It is named by its flag.
func within(flag string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s %d is not within %d to %d", flag, n, low, high)
	}
	return nil
}
