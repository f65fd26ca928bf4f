// Package traffic makes bounded UDP traffic whose every packet is accounted for.
//
// A verdict daemon holds each new flow unconfirmed while it thinks. Whether the kernel then clashes, drops, duplicates
// or reorders can only be told by a sender that puts several packets of a flow on the way at the same instant, and by a
// receiver that knows exactly what was sent. This package is both: RunClash sends bursts, one for each new flow, and
// keeps a Ledger of what arrived. RunMix sends flows of all sorts, drawn from a seed, to several receivers, each with a
// Ledger of its own. RunFlood sends packets of a few long-lived flows as fast as it can, or in an open loop, and
// measures what that costs; RunUDPClash does what the kernel's selftest of clash resolution does.
//
// # What the words mean
//
// A flow is one (source address, source port) towards the one target; it never repeats within a run, so that it
// is new to conntrack. Two runs in one network namespace with the same seed do repeat flows, and conntrack
// remembers an unanswered UDP flow for nf_conntrack_udp_timeout (30 s by default).
//
// Sent is what was offered to the kernel. A send that fails (EPERM is a filter's or conntrack's drop in OUTPUT or
// POSTROUTING) is counted in send errors and is in the loss as well: a packet that did not arrive is lost, whoever
// said so.
//
// Order is defined for each sending thread of a flow: packets which two threads send at the same instant have no
// order to keep. A packet counts as reordered when one that its thread sent later arrived before it (RFC 4737).
// In ModeSendmmsg one thread sends the whole burst, and so the whole burst has one order.
//
// In ModeCross and ModeReply half of the threads send from the receiver's end: through its own socket, which is bound
// to the target, to the flow's source. What they send arrives at the flow's sockets and is in the same figures.
//
// A flood's packets are more than a flow's sequence numbers count, so its ledger has a flow of its own for each 1,024
// of them: floodPlan.
//
// # Threads
//
// Each sending thread is an operating-system thread pinned to one CPU; they meet at a barrier and then send
// through system calls on prebuilt buffers. The receiver and, with echo, the collector have a thread each. A
// thread that entered a network namespace is never given back to the Go scheduler: its goroutine ends without
// unlocking it, and the runtime ends the thread. Goroutines started from such a thread run elsewhere, in the
// process's own namespace.
//
// # What programs hold on to
//
// RunSoak also tells whether programs hold on to memory and descriptors while traffic goes on that they should be able
// to bear for ever. A program looks at itself with [ReadSelf] where it is at rest, before and after: live objects and
// descriptors must then be what they were, whatever the resident set says, of which Go gives back little and late.
// Other programs are only seen from outside: of them a [ProcessWatch] samples the resident set and the descriptors.
// What a program takes when that begins is no leak, so memory is held against what it was when a part of the time
// had passed.
//
// # When figures look wrong
//
// ReceiverDropped above zero is loss at this program's own socket, not in the path: raise ReceiveBuffer or lower
// Outstanding. A flood has no bound on what is under way (an open loop), and one receiving thread: at full speed this
// loss is to be expected. A large Spread says that the threads did not send at once: fewer threads, or more CPUs.
package traffic
