package gate

import "slices"

// A Reading is what the kernel tells of a queue (/proc/net/netfilter/nfnetlink_queue).
// It reads these numbers one after the other while packets come and go.
type Reading struct {
	Queue uint16
	Port  uint32
	// Sequence is the id of the last packet queued, Waiting how many have no
	// verdict yet.
	Sequence, Waiting uint32
	// Lost packets got an id and never waited, as the program's socket was full:
	// the queue's user_dropped, or the socket's drops in /proc/net/netlink where
	// these are more, as a queue that fails open does not count what it lets pass.
	Lost uint32
	// InOrder: its program judges packets as they come.
	InOrder bool
}

// ahead is how many packets, at least, were judged after the one that to has as
// its last, if they are judged in order: of those that had come when last was
// read, which is earlier. Fewer are lost than were where a program has begun again with
// the same port id, as the first process of a container does.
func (r Reading) ahead(last, to Reading) int32 {
	return int32(last.Sequence-to.Sequence) - int32(r.Waiting) - max(int32(r.Lost-to.Lost), 0)
}

// find looks for the same queue of the same program.
func find(list []Reading, of Reading) (Reading, bool) {
	for _, r := range list {
		if r.Queue == of.Queue && r.Port == of.Port {
			return r, true
		}
	}
	return Reading{}, false
}

// withLost copies a reading, but says of lost packets what an earlier one does:
// more are counted as lost since.
func withLost(list, earlier []Reading) []Reading {
	list = slices.Clone(list)
	for i := range list {
		if e, ok := find(earlier, list[i]); ok {
			list[i].Lost = e.Lost
		}
	}
	return list
}

// union has of each queue the reading of the higher sequence, and all queues of
// both, or that of the lower one, and only queues that are in both.
func union(a, b []Reading, higher bool) (list []Reading) {
	for _, r := range a {
		o, ok := find(b, r)
		switch {
		case !ok && !higher:
			continue
		case ok && (int32(o.Sequence-r.Sequence) > 0) == higher:
			r = o
		}
		list = append(list, r)
	}
	if higher {
		for _, r := range b {
			if _, ok := find(a, r); !ok {
				list = append(list, r)
			}
		}
	}
	return list
}
