package main

// benchCmd is `lab bench`: comparisons with what others use for the same.
type benchCmd struct {
	Queue      benchQueueCmd  `cmd:"" default:"withargs" help:"What a packet costs verdictd, other programs and the guard, in CPU time. The default: lab bench alone does the same."`
	Events     benchEventsCmd `cmd:"" help:"What an event of conntrack costs those who listen for it, in CPU time."`
	ListenTimo benchListenCmd `cmd:"" hidden:""`
	Send       benchSendCmd   `cmd:"" help:"How fast stress sends, and how surely it provokes clashes, against a C loop, trafgen and the kernel's selftest."`
}
