// Package engine runs the verdicts: one worker per queue, each on an OS thread
// of its own, from the receive to the verdict's return.
//
// A packet's way through a worker, file by file:
//
//	worker.go    handle, for each packet of a batch: decode, policy, its verdict
//	analysis.go  the delay that models a slow analysis, where one is configured
//	worker.go    flush: the verdicts go to the kernel, ids ascending
//	hints.go     what became of them is told to who waits for it
//	tune.go      settings of queues and threads that change meanwhile
//	results.go   what was counted is read, at any time
//
// What a batch is judged by is one pointer, loaded once a batch: [Engine.Judge] changes
// it while packets come. Nothing on this way allocates, locks or logs; alloc_test.go holds it to that.
// A packet has one verdict. What keeps further packets of a flow from the queue while
// its first one is judged stands before conntrack, and is not the engine's.
//
// # Stopping
//
// Take the rules out of the kernel first, so that nothing new is queued. Stop
// then lets each worker judge what its socket holds, and returns. Close unbinds
// the queues; the kernel drops what they still hold, which after Stop is
// nothing.
package engine
