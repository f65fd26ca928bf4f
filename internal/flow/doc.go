// Package flow decides which packets may be given back to the kernel, and
// which must not: the clash guard. It knows no sockets and reads no clock.
//
// # Why
//
// A packet that waits in an NFQUEUE between conntrack's lookup and its confirm
// carries an entry of its own that is not in the table yet. While the first
// packet of a flow waits, each further one gets such an entry too, and giving
// a verdict on it makes the kernel resolve a clash: the loser is dropped,
// misrouted or, on some kernels, used after it was freed (CVE-2022-49561).
//
// # How
//
// The first packet of a flow is given back. Sending a verdict is synchronous:
// when it returns, the packet has run through the hooks behind the queue, and
// its entry is confirmed, unless a rule there dropped it. A further packet is
// not given back but sent anew: its copy looks conntrack up afresh, and when that
// has returned undropped, the flow is confirmed for certain ([Queue.Resent]).
//
// From then on a packet may be given back if conntrack looked it up after that
// moment. A queue's socket is first in, first out, so this is certain of a packet
// that arrived after the socket was seen empty later than that moment plus a
// grace, which stands for the time between a packet's lookup and its arrival in
// the queue. Where rules or the kernel tell whether the packet's own entry is
// confirmed, that answers at once.
//
// All uncertainty errs towards sending anew, which costs time and harms nothing.
//
// # One flow in several queues
//
// The Table is shared by all queues. A flow whose first packet another queue
// is still judging is that queue's: packets that arrive elsewhere are handed to
// it (Mailbox), and are sent anew once the first one's verdict has returned.
// Looking up a flow that has settled takes no lock.
//
// # Memory
//
// 26 bytes a flow, allocated once. A flow that was idle for Config.Idle is
// forgotten: its next packet counts as a first one again.
package flow
