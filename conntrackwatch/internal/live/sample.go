package live

import (
	"time"

	"verdictd/conntrackwatch/internal/observe"
)

// Sample is a line of JSON.
type Sample struct {
	Schema       int       `json:"schema"`
	Time         time.Time `json:"time"`
	NetNS        string    `json:"netns"`
	Clashes      *float64  `json:"clashes_per_second"`
	Failed       *float64  `json:"insert_failed_per_second"`
	Dropped      *float64  `json:"drop_per_second"`
	EventsLost   *float64  `json:"events_lost_per_second"`
	Entries      *float64  `json:"entries"`
	Fill         *float64  `json:"fill"`
	Backlog      *float64  `json:"queue_packets"`
	QueueDropped *float64  `json:"queue_dropped_per_second"`
}

func newSample(name string, f observe.Figures) Sample {
	return Sample{
		Schema: 1, Time: f.Time, NetNS: name, Clashes: f.Clashes, Failed: f.Failed, Dropped: f.Dropped,
		EventsLost: f.EventsLost,
		Entries:    sent(f.Entries.N, f.Entries.Sent), Fill: f.Fill(), Backlog: f.Backlog, QueueDropped: f.QueueDropped,
	}
}
