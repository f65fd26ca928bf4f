// Package overload exists so that packets are not lost in silence: one goroutine looks at
// the kernel's queues several times a second, and says, in words and in numbers, when
// they lose packets and when workers stand still.
//
//	monitor.go   the goroutine, and what it is asked for
//	loss.go      loss begins, goes on and ends
//	age.go       how long the oldest packet of a queue has waited
//	stuck.go     workers that make no progress, with their stacks
//	watchdog.go  the service manager is fed while none is stuck
//
// # Limits
//
// The kernel counts no loss of a queue with fail_open: what does not fit there goes on.
//
// A stack is taken by Go's runtime, which waits for every thread to stop for a moment. A
// thread that the kernel holds in a verdict's way (nfnl.Socket.Send) does not; then there
// is no stack, the watchdog is not fed, and the service manager ends the process.
package overload
