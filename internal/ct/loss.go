package ct

import "time"

// MaxLosses bounds the losses that are kept one by one. All are counted.
const MaxLosses = 1000

// Loss is a time in which the kernel dropped events as the receive buffer was full. Once it has dropped one, it drops
// all until the buffer has been emptied (NETLINK_S_CONGESTED).
type Loss struct {
	// From is when events were last received without word of a loss, To when the buffer was found empty: every event
	// that was lost happened in between.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Events is how many were lost; known since Linux 4.12.
	Events Value `json:"events"`
	// ReceiveBuffer is its size from then on: it is made larger after a loss, as far as the configuration and the
	// kernel allow.
	ReceiveBuffer int `json:"receive_buffer"`
}

// losses follows the losses of one socket.
type losses struct {
	list  []Loss
	times uint64
	open  bool // one is under way: the buffer has not been empty since
	last  Loss
	drops uint32 // the kernel's counter at the end of the last loss
}

// begin takes the kernel's word that it has dropped something.
func (l *losses) begin(lastGood time.Time) {
	l.times++
	if !l.open {
		l.open, l.last = true, Loss{From: lastGood}
	}
}

// end closes the loss under way. dropped is the kernel's counter, which wraps at 32 bits.
func (l *losses) end(now time.Time, dropped uint32, known bool, buffer int) Loss {
	l.open = false
	l.last.To, l.last.ReceiveBuffer = now, buffer
	if known {
		l.last.Events = Value{N: uint64(dropped - l.drops), Sent: true}
		l.drops = dropped
	}
	if len(l.list) < MaxLosses {
		l.list = append(l.list, l.last)
	}
	return l.last
}
