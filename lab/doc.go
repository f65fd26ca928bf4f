// Command lab runs the shipped programs together, in network namespaces of
// their own, and reports what happened.
//
// `lab matrix` goes through placements of the queue rule, guards, fan-outs,
// NAT, programs and address families. Each run is processes that people use
// as they are: verdictd judges, stress sends bursts and keeps the ledger,
// conntrackwatch counts clashes. What is measured is what is shipped. In rows
// with another program it judges in verdictd's place, and knows nothing of it:
// verdictd guard stands before its queues, or nothing does.
//
// `lab soak` guards a mix of all sorts of flows for minutes (`stress soak` sends
// them), in every placement. The flows that a seed gives are the same again; how
// they meet with the kernel's threads is not, so a failure may take several runs
// to come back:
//
//	lab soak --seed 4711 --only verdict3/cpu
//
// `lab faults` has the program that judges killed, stopped, reloaded, restarted,
// overloaded and robbed of its rules, while packets go through a router whose
// every one is accounted for.
//
// `lab dns` shows what users notice: how long names take to resolve without a
// queue, with one, and under each guard, and how many resolvers had to wait for
// their timeout. In guard drop they do; that row is the control of the others.
//
// Here are the flags alone. Each experiment is a package in internal, with a plain
// configuration and the type of its document; those of the matrix and of the crash
// are in package report, with their pages. Package testbed is what the experiments
// stand on and says what may be left of a run. Every document has a schema in
// docs/schema.
//
// # Debugging
//
// A run that fails says which program did, how it ended and the last that it
// wrote to stderr. To see more of one run, choose it alone:
//
//	lab matrix --only placement=output,guard=hold,family=ipv4
package main
