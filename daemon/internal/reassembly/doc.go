// Package reassembly keeps the first bytes of flows until they say what is asked of them,
// because a name may be spread over segments or packets that come in any order. Its
// memory is taken once, and what a sender can make it do is bounded.
//
// A Pool has a number of buffers of one length. A flow has one as long as it is being put
// together: until its name is known, or it has had its share of bytes, packets and time
// (Config). Where all are taken, the flow that has had one for longest loses it.
//
// [Ages] are numbers by their age, of which a free one can be taken and the oldest one be freed. The table of flows
// (package flows) has its flows by them, too.
//
// # What counts where copies differ
//
// Of bytes that come twice with other content the first copy counts, as with most stacks
// for data that they have taken already (Linux: tcp_data_queue). Where a gap is filled,
// stacks differ: Linux has a segment that covers others take their place
// (tcp_data_queue_ofo). No honest sender makes such conflicts. They are counted, and
// [Pool.Contradicts] tells who asks that nobody knows what the receiver has. Who wants to be
// seen differently than by the receiver has other ways too, as packets that expire on the
// way, and no reader on the way can know.
//
// # What a hostile sender can do
//
// A packet costs at most one copy of itself and a walk over the pieces of its flow, of
// which there are no more than packets. Bytes beyond the buffer or before its beginning are
// not kept, but their packet counts, so that a sender of those runs out of packets.
//
// A Pool belongs to one goroutine. It has no clock: time is handed in, in nanoseconds,
// and never goes back.
package reassembly
