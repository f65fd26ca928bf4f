package ct

import (
	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
)

// Tally counts events by type.
type Tally struct {
	New     uint64 `json:"new"`
	Update  uint64 `json:"update"`
	Destroy uint64 `json:"destroy"`
}

// EventCounts is what a [Listener] counted.
type EventCounts struct {
	Total     Tally              `json:"total"`
	Protocols map[Protocol]Tally `json:"protocols"`

	// Lost is how many times the kernel said that it had dropped events because the receive buffer was full
	// (ENOBUFS). It says so once for all that it drops until the buffer has been emptied.
	Lost uint64 `json:"lost"`
	// LostEvents is how many events that were: the socket's drop counter, which kernels tell since 4.12.
	LostEvents Value `json:"lost_events"`
	// Undecodable counts messages that are no event this program understands. They are in no tally.
	Undecodable uint64 `json:"undecodable"`
}

// add counts one message. Protocols is not nil.
func (c *EventCounts) add(m netlink.Message) {
	var ev conntrack.Event
	if err := ev.Unmarshal(m); err != nil || ev.Flow == nil {
		c.Undecodable++
		return
	}
	protocol := Protocol(ev.Flow.TupleOrig.Proto.Protocol)
	tally := c.Protocols[protocol]
	switch ev.Type {
	case conntrack.EventNew:
		c.Total.New++
		tally.New++
	case conntrack.EventUpdate:
		c.Total.Update++
		tally.Update++
	case conntrack.EventDestroy:
		c.Total.Destroy++
		tally.Destroy++
	default:
		c.Undecodable++
		return
	}
	c.Protocols[protocol] = tally
}
