package overload

import (
	"log/slog"
	"time"
)

// drops are the kernel's counters.
type drops struct{ queue, user uint64 }

func (d drops) plus(o drops) drops { return drops{d.queue + o.queue, d.user + o.user} }

// episode is a time in which packets are lost, from the first one until there was none
// for a while.
type episode struct {
	began, last time.Time // began is zero while nothing is lost
	said        time.Time
	lost        drops // since it began
}

const (
	// quietFor without loss ends an episode.
	quietFor = 5 * time.Second
	// sayAgain is the least time between two lines about one episode, and between the
	// beginnings of two.
	sayAgain = time.Minute
)

// note takes what was lost since the last look, and logs what an operator has to know.
// The attributes are how the queues stand.
func (e *episode) note(log *slog.Logger, now time.Time, lost drops, attributes ...any) {
	if lost != (drops{}) {
		if e.began.IsZero() {
			e.began, e.lost = now, drops{}
		}
		e.last, e.lost = now, e.lost.plus(lost)
	}
	switch {
	case e.began.IsZero():
	case now.Sub(e.last) >= quietFor:
		log.Warn("packets are lost no more", e.with(e.last, attributes)...)
		e.began = time.Time{}
	case e.said.IsZero() || now.Sub(e.said) >= sayAgain:
		e.said = now
		log.Warn("packets are lost: the kernel's queue is full (queue_dropped: queues.max_length) or the socket's buffer is (user_dropped: queues.receive_buffer)",
			e.with(now, attributes)...)
	}
}

func (e *episode) with(until time.Time, attributes []any) []any {
	return append([]any{
		"queue_dropped", e.lost.queue, "user_dropped", e.lost.user, "seconds", until.Sub(e.began).Round(100 * time.Millisecond).Seconds(),
	}, attributes...)
}
