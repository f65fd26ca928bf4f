// Package gate decides which packets wait before conntrack looks them up. It
// exists because two packets of one flow that are looked up before the first
// one's entry is confirmed get an entry each, and clash.
//
// It is a state machine: it knows no socket, no clock and no thread. Package
// runner moves packets through it; model_test.go moves a model of the kernel.
//
// A packet's way, file by file:
//
//	packet.go    it comes: first of its flow, further, or announced
//	held.go      further ones wait here, in their order
//	ask.go       is their flow confirmed by now? which flows to ask for, oldest first
//	answer.go    what an answer, a drop or a refused verdict means for them
//	expire.go    nothing waits longer than it may
//	dark.go      what may be on its way when the gate begins
//	listing.go   flows that keep on sending pass in the kernel instead
//	progress.go  has every other queue judged what was released so far? (reading.go,
//	             and pace.go for programs that judge in any order)
//	epoch.go     which flows wait for that
//
// # States
//
// A flow is pending from the release of its first packet until conntrack has
// its entry (confirmed) or that packet is known to have been dropped (gone).
// While it is pending, further packets are held. Any other flow is open: its
// next packet is a first one, which is right whether conntrack has the flow or
// not, as nothing of it is on its way without a confirmed entry.
//
// A Table belongs to one thread, and a flow to one Table: the queues of several
// gates must be filled by a hash of the addresses that is the same in both
// directions.
package gate
