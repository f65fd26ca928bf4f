// Package service exists so that the daemon has one life, from its start to an end in
// order: it joins the verdict engine, the gate and the kernel's rules, and holds the
// order in which they begin and end, so that no packet is lost between them.
//
//	run.go         verdicts: start, serve, and the order of the stop
//	guard.go       the gate alone, before the queues of other programs
//	life.go        what a life has, and the goroutine that it belongs to
//	reload.go      another configuration, while it runs
//	doors.go       what the configuration names is tried, and what is served
//	asked.go       answers at the control socket
//	signals.go     what the process is told by signal
//	kept.go        queues are taken over from a process before, and left to a next one
//	translate.go   what the configuration means to the packages below
//	modules.go     what the kernel has to load first
//	statistics.go  what was counted, written at the end, and on request
//	metrics.go     what Prometheus is told
package service
