// Package nfq is one NFQUEUE: the kernel's hand-over of packets to user space,
// and user space's verdicts on them.
//
// A Queue gives packets in batches and takes a Reply for each. Two backends
// stand behind it:
//
//   - Mmsg, the default: recvmmsg(2) and one sendto(2) with several verdicts,
//     on buffers that it owns. No allocation, no lock.
//   - Gonf, on github.com/florianl/go-nfqueue: a callback, and one verdict per
//     system call. It is the reference for what the first one does and costs.
//
// A Queue may have further ones on its socket (Config.MoreQueues, Mmsg only): their
// packets come in the order in which the kernel queued them, whichever queue that
// was, and each is answered in its own.
//
// # Lifetime traps
//
// The packets of a Batch, their payloads included, are valid until the
// function that Run called with it returns.
//
// A packet waits in the kernel until it is replied to. Closing a queue drops
// what it holds; Stop first lets Run reply to everything that has arrived.
// Deleting any base chain of the network namespace drops what all queues hold: the
// verdicts on those packets are refused (Config.OnRefused).
//
// The kernel looks a packet up by walking its queue from the oldest, so
// replies in ascending order of ID are found at once.
//
// Packets may be held: replied to in a later turn, in any order. While one is, no
// run of verdicts is joined into a batch verdict, as that concerns all packets up to
// an id.
//
// # Messages that cannot be understood
//
// A packet whose message was cut, or has no payload, is handed on with what could be
// read and counted (statistics.Transport.Malformed): it waits for its verdict, and is to get the one
// that undecodable packets get. One without an id stays in the kernel until the
// queue is closed, which drops it; from then on no verdicts are joined.
//
// # Order
//
// A queue's packets arrive in the order in which they were queued. With
// Config.FailOpen one that finds the queue or the receive buffer full goes on at
// once and overtakes all that wait, also those of its own flow.
//
// # Loss
//
// A queue that is full drops (queue_dropped), as does a receive buffer that is
// full (user_dropped); neither is told to the program that listens. ReadKernelQueues
// reads both from procfs. Packets queued with CopyNone are dropped by no
// counter at all.
//
// # Debugging
//
// `cat /proc/net/netfilter/nfnetlink_queue` lists queues, their owners' port
// ids, backlogs and drops.
package nfq
