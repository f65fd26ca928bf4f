// Package attacks holds tests only: situations in which a guard that changes
// packets, loses them or lets them past a rule would show. Each is set up on
// the real kernel with the tools that operators use, and played with guard.mode
// off and hold; hold has to do what off does, without the clashes.
//
// The daemon is the program that people run, built once for a test process and
// started as a child in a network namespace. A test reads like this:
//
//	sideBySide(t, scenario{
//		arrive: 200, clashes: 50,
//		play: func(r *run) outcome {
//			h := twoHosts(r, "ipv4")
//			r.daemon(h.Queue, analysis+"rules: {placement: input, destination_ports: [5300]}")
//			in := listen(r, h.Receiver, h.target(port))
//			burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
//			return r.end(in, 200)
//		},
//	})
//
// To see what the daemon says, run one test with -v: its log is the test's.
package attacks
