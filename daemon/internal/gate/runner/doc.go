// Package runner moves packets through gates. Package gate decides, and knows no
// socket; here are the threads that ask it.
//
//	worker.go    one thread for each queue of the gate: packets, verdicts, and
//	             questions to conntrack about the flows that hold packets
//	section.go   which epoch a worker's packets are released in
//	watcher.go   one thread that reads how far all other queues are, so that
//	             packets of the gate are known to be past them
//	judges.go    what it makes of a queue that is not judged: does its program
//	             stand still, or want a second packet?
//	barrier.go   one thread that waits for the kernel's memory barriers
//	lister.go    one goroutine that puts flows into the settled set
//	results.go   what the workers have counted is read, at any time
//	hints.go     what the verdict engine of this process tells
//
// Workers share nothing but numbers that are read and written at once
// (sync/atomic), and two bounded rings. On the way of a packet nothing allocates,
// locks or logs.
//
// # Stopping
//
// Take the gate's rules out first. Stop then waits until nothing is held any
// more, for guard.hold at most, lets the rest go, and returns. Close unbinds the
// queues.
//
// # Namespaces
//
// All threads are in the network namespace of the thread that called Open.
package runner
