// Package journal exists so that a process finds the queues of the one before it as that
// left them: their sockets, and in memory that outlives it what it had read and not
// answered.
//
//	memory.go   a memfd, and its mapping
//	kept.go     what the process begins with, and has kept by whoever started it
//	queue.go    a queue: taken over where that can be, bound otherwise
//	restarts.go how often in a row
//	deadly.go   packets that ended two processes, for somebody to look at
//
// There is one way, with or without a keeper (package fdstore): without one the memory
// and the sockets go with the process.
//
// # Names of descriptors
//
// By the first queue number N of a socket: queue-N, journal-N and held-N of the verdict queues,
// gate-N, gate-journal-N and gate-held-N of the gate; restarts-0 counts.
//
// # What is not believed
//
// Any process of the same user may write to the memory. It cannot be made shorter
// (F_SEAL_SHRINK). Each reader takes numbers in it for what they are: lengths and places
// within bounds, queues that are its own. What is of another form is begun again.
//
// # Order
//
// A socket is kept after its journal, and let go before it. So a socket without a journal
// was not kept by this program as it is now, and is not taken over.
package journal
