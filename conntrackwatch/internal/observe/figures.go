package observe

import (
	"errors"
	"time"

	"verdictd/internal/ct"
)

// Figures are what happened between two readings, as rates a second, and what is now. A figure is nil where the kernel
// does not tell it.
type Figures struct {
	Time    time.Time
	Clashes *float64 // a second, see [ct.Counters.Clashes]
	Failed  *float64 // insert_failed a second
	Dropped *float64 // drop a second
	// EventsLost a second; nil where nobody listens, and before Linux 4.12.
	EventsLost *float64
	// Entries of Limit are in conntrack's table.
	Entries, Limit ct.Value
	// Backlog is packets waiting in all queues, QueueDropped those dropped a second by full queues or sockets; nil
	// where the queues cannot be listed.
	Backlog      *float64
	QueueDropped *float64
}

// errOther: queues of two namespaces are not compared.
var errOther = errors.New("another namespace")

// Fill is the table's fill from 0 to 1; nil where its limit is not known.
func (f Figures) Fill() *float64 {
	if !f.Limit.Sent || f.Limit.N == 0 {
		return nil
	}
	return new(float64(f.Entries.N) / float64(f.Limit.N))
}

// Between compares two readings of one source.
func Between(before, now Reading) Figures {
	if now.Made != before.Made {
		// Another namespace, of which nothing was counted before.
		before.CPUs, before.Events, before.QueuesErr = nil, nil, errOther
	}
	took := now.Time.Sub(before.Time)
	risen := now.Since(before.Snapshot).Total()
	rates := risen.PerSecond(took)
	rate := func(c ct.Counter) *float64 {
		if v, ok := rates.Of(c); ok {
			return &v
		}
		return nil
	}
	f := Figures{
		Time: now.Time, Failed: rate(ct.InsertFailed), Dropped: rate(ct.Drop),
		Entries: now.Table.Entries, Limit: now.Table.MaxEntries,
	}
	if took <= 0 {
		return f
	}
	if clashes := risen.Clashes(); clashes.Sent {
		f.Clashes = new(float64(clashes.N) / took.Seconds())
	}
	if now.Events != nil && before.Events != nil && now.Events.LostEvents.Sent {
		f.EventsLost = new(float64(now.Events.LostEvents.N-before.Events.LostEvents.N) / took.Seconds())
	}
	if now.QueuesErr == nil && before.QueuesErr == nil {
		f.Backlog, f.QueueDropped = queues(before, now, took)
	}
	return f
}

// queues sums over the queues that were there both times under the same owner: a queue that was bound again counts from
// zero.
func queues(before, now Reading, took time.Duration) (backlog, dropped *float64) {
	type key struct {
		queue uint16
		owner uint32
	}
	drops := map[key]uint32{}
	for _, q := range before.Queues {
		drops[key{q.Queue, q.PortID}] = q.QueueDropped + q.UserDropped
	}
	waiting, lost := 0., 0.
	for _, q := range now.Queues {
		waiting += float64(q.Queued)
		if was, ok := drops[key{q.Queue, q.PortID}]; ok {
			lost += float64(q.QueueDropped + q.UserDropped - was) // wraps as the kernel's does
		}
	}
	return &waiting, new(lost / took.Seconds())
}
