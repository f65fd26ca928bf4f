package events

import (
	"strconv"

	"verdictd/internal/ct"
	"verdictd/lab/internal/bench"
)

// An listener is one of those that are compared.
type listener struct {
	name string
	// ours must not lose events. Others may: `conntrack -b` of conntrack-tools 1.4.7 sets the buffer of a socket that
	// receives none (it has two), and so waits with the system's default.
	ours bool
	// command is the program and its arguments.
	command func(b *comparison) []string
}

// listeners are in the order in which each round measures them. Each gets the same room for events that wait.
var listeners = []listener{
	{"events", true, func(b *comparison) []string {
		return []string{b.Conntrackwatch, "events", "--count", "--receive-buffer", bufferSize}
	}},
	{"events+flows", true, func(b *comparison) []string {
		return []string{b.Conntrackwatch, "events", "--receive-buffer", bufferSize}
	}},
	{"events+lines", true, func(b *comparison) []string {
		return []string{"sh", "-c", `exec "$0" events --format table --receive-buffer "$1" >/dev/null`,
			b.Conntrackwatch, bufferSize}
	}},
	{"conntrack", false, func(*comparison) []string {
		return []string{"sh", "-c", `exec conntrack -E -b "$0" >/dev/null`, bufferSize}
	}},
	{"timo", false, func(b *comparison) []string {
		return []string{b.lab, "bench", "listen-timo", "--receive-buffer", bufferSize}
	}},
}

var bufferSize = strconv.Itoa(ct.DefaultReceiveBuffer)

// ratios are those that are always shown.
var ratios = []bench.Ratio{bench.RatioOf("events", "conntrack"), bench.RatioOf("events", "timo"),
	bench.RatioOf("events+flows", "conntrack"), bench.RatioOf("events+lines", "conntrack")}

// Names are the listeners, in their order.
func Names() []string {
	names := make([]string, len(listeners))
	for i := range listeners {
		names[i] = listeners[i].name
	}
	return names
}
