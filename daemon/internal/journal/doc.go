// Package journal exists so that a process finds the queues of the one before it as that
// left them: their sockets, and in memory that outlives it what it had read and not
// answered.
//
//	memory.go   a memfd, and its mapping
//	kept.go     what the process begins with, and has kept by whoever started it
//	queue.go    a queue: taken over where that can be, bound otherwise
//	deadly.go   packets that ended two processes, for somebody to look at
//
// There is one way, with or without a keeper (package fdstore): without one the memory
// and the sockets go with the process.
//
// # Names of descriptors
//
// By the first queue number N of a socket: queue-N and journal-N of the verdict queues,
// gate-N, gate-journal-N and gate-held-N of the gate.
//
// # Order
//
// A socket is kept after its journal, and let go before it. So a socket without a journal
// was not kept by this program as it is now, and is not taken over.
package journal
