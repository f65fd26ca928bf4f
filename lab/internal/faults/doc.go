// Package faults is `lab faults`: a seeded nemesis for minutes or hours. Packets go through a router at a steady pace
// while faults happen to the program that judges them there, and a ledger says what each fault has cost.
//
// # What is measured
//
//	lost         packets to be accepted that did not arrive
//	unjudged     packets that the policy drops, and that arrived: they have passed without a verdict
//	duplicated   packets that arrived twice
//	reordered    packets that arrived after one that their flow sent later
//	clashes      clashes that conntrack counted on the router
//
// A packet's number says all about it (schedule.go): which flow it is of, and whether the policy drops it. One of five
// is to be dropped, so a program that is away for a millisecond at 5,000 packets a second shows. When it was sent is
// known to a batch of the sender, and what went wrong with it belongs to the fault that reigned then.
//
// Some of it is inherent to a fault, whoever judges: what waits at an interface that goes down is lost. kinds.go says
// what is, and why. All else must be 0.
//
// # How it goes
//
// The sequence of faults and their settings come from the seed (plan.go). A subject (subject.go) is the program with
// whoever starts it once more. The nemesis (nemesis.go) has one fault happen at a time, waits until packets arrive
// that were sent after it, and then a while more.
//
// # When figures look wrong
//
// Packets that the receiver's own socket could not take are told apart: the machine is too slow for the rate. As an
// ordinary user sockets have the buffers of net.core.rmem_max alone, which hold some 50 ms: programs that stand still
// for longer then lose packets.
package faults
