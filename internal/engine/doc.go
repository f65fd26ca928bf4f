// Package engine runs the verdicts: one worker per queue, each on an OS thread
// of its own, from the receive to the verdict's return.
//
// A packet's way through a worker, file by file:
//
//	worker.go    handle, for each packet of a batch: decode, policy
//	analysis.go  the delay that models a slow analysis, where one is configured
//	guard.go     may it be given back, or must it be sent anew? (package flow)
//	worker.go    flush: the verdicts,
//	resend.go    then the packets to be sent anew,
//	worker.go    then the verdicts on their queued originals
//
// Nothing on this way allocates, locks or logs; alloc_test.go holds it to that.
// The one exception is a flow that reaches several queues at once, whose first
// packets take a lock of package flow.
//
// # Stopping
//
// Take the rules out of the kernel first, so that nothing new is queued. Stop
// then lets each worker judge what its socket holds, and returns. Close unbinds
// the queues; the kernel drops what they still hold, which after Stop is
// nothing.
package engine
