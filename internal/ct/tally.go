package ct

import (
	"maps"

	"verdictd/internal/nfnl"
	"verdictd/internal/vocabulary"
)

// Tally counts events by type.
type Tally struct {
	New     uint64 `json:"new"`
	Update  uint64 `json:"update"`
	Destroy uint64 `json:"destroy"`
}

// add counts one event.
func (t *Tally) add(typ EventType) {
	switch typ {
	case EventNew:
		t.New++
	case EventUpdate:
		t.Update++
	case EventDestroy:
		t.Destroy++
	}
}

// plus adds two tallies.
func (t Tally) plus(o Tally) Tally {
	return Tally{t.New + o.New, t.Update + o.Update, t.Destroy + o.Destroy}
}

// EventCounts is what a [Listener] counted.
type EventCounts struct {
	Total     Tally                         `json:"total"`
	Protocols map[vocabulary.Protocol]Tally `json:"protocols"`

	// Lost is how many times the kernel said that it had dropped events because the receive buffer was full
	// (ENOBUFS). It says so once for all that it drops until the buffer has been emptied.
	Lost uint64 `json:"lost"`
	// LostEvents is how many events that were: the socket's drop counter, which kernels tell since 4.12.
	LostEvents Value `json:"lost_events"`
	// Losses are when that was, the first MaxLosses of them.
	Losses []Loss `json:"losses"`
	// Undecodable counts messages that are no event this program understands. They are in no tally.
	Undecodable uint64 `json:"undecodable"`
}

// Plus is what two listeners have counted, one after the other.
func (c EventCounts) Plus(o EventCounts) EventCounts {
	sum := EventCounts{
		Total: c.Total.plus(o.Total), Protocols: maps.Clone(c.Protocols), Lost: c.Lost + o.Lost, Undecodable: c.Undecodable + o.Undecodable,
		LostEvents: Value{N: c.LostEvents.N + o.LostEvents.N, Sent: c.LostEvents.Sent || o.LostEvents.Sent},
	}
	if sum.Protocols == nil {
		sum.Protocols = map[vocabulary.Protocol]Tally{}
	}
	for protocol, t := range o.Protocols {
		sum.Protocols[protocol] = sum.Protocols[protocol].plus(t)
	}
	sum.Losses = append(append([]Loss{}, c.Losses...), o.Losses...)
	sum.Losses = sum.Losses[:min(len(sum.Losses), MaxLosses)]
	return sum
}

// tallies counts events without allocating: one tally for each protocol there can be.
type tallies struct {
	protocols   [256]Tally
	undecodable uint64
}

// add counts one message.
func (t *tallies) add(m *nfnl.Message) {
	typ, isEvent := eventType(m)
	protocol, ok := protocolOf(m.Attributes())
	if !isEvent || !ok {
		t.undecodable++
		return
	}
	t.protocols[protocol].add(typ)
}

// counts puts together what was counted.
func (t *tallies) counts() EventCounts {
	c := EventCounts{Protocols: make(map[vocabulary.Protocol]Tally), Undecodable: t.undecodable, Losses: []Loss{}}
	for i, tally := range t.protocols {
		if tally != (Tally{}) {
			c.Protocols[vocabulary.Protocol(i)] = tally
			c.Total = c.Total.plus(tally)
		}
	}
	return c
}
