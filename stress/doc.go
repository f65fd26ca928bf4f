// Command stress provokes what a verdict daemon must survive, and accounts for every packet that it sends.
//
//	stress clash    bursts of packets that all are the first of their flow
//	stress dns      resolvers that ask for A and AAAA records at once, and wait
//	stress flood    throughput and latency of a few flows
//	stress soak     a mix of all sorts of flows for any length of time
//	stress modload  threads that need a kernel module at the same moment
//	stress procnet  threads that read, rename and watch the many names of /proc/net
//	stress compare  what changed from one set of results to another
//
// Here are the flags and the wiring; each experiment is a package below internal/, and what it writes is a type of
// package results.
//
// What its words mean, and what to do when its figures look wrong, is in package traffic. It sends to loopback, to
// documentation addresses, and elsewhere only where the target is named twice.
//
// While a scenario runs the kernel is watched (package crash): a new report in its log, or a new bit in its taint mask,
// is told at once, is in the result, and fails the run. A result file is whole at any time, and marked incomplete until
// the end, so that a machine that dies leaves what was measured (internal/record).
//
// Exit status: 0 the run completed, even with loss; 1 it failed, the kernel broke, or packets were lost and
// --fail-on-loss was given; 64 wrong usage.
package main
