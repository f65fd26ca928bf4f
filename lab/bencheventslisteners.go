package main

import (
	"strconv"

	"verdictd/internal/ct"
)

// An eventListener is one of those that are compared.
type eventListener struct {
	name string
	// ours must not lose events. Others may: `conntrack -b` of conntrack-tools 1.4.7 sets the buffer of a socket that
	// receives none (it has two), and so waits with the system's default.
	ours bool
	// command is the program and its arguments.
	command func(b *eventBench) []string
}

// eventListeners are in the order in which each round measures them. Each gets the same room for events that wait.
var eventListeners = []eventListener{
	{"events", true, func(b *eventBench) []string {
		return []string{b.conntrackwatch, "events", "--count", "--receive-buffer", eventBuffer}
	}},
	{"events+flows", true, func(b *eventBench) []string {
		return []string{b.conntrackwatch, "events", "--receive-buffer", eventBuffer}
	}},
	{"events+lines", true, func(b *eventBench) []string {
		return []string{"sh", "-c", `exec "$0" events --format table --receive-buffer "$1" >/dev/null`, b.conntrackwatch, eventBuffer}
	}},
	{"conntrack", false, func(*eventBench) []string {
		return []string{"sh", "-c", `exec conntrack -E -b "$0" >/dev/null`, eventBuffer}
	}},
	{"timo", false, func(b *eventBench) []string {
		return []string{b.lab, "bench", "listen-timo", "--receive-buffer", eventBuffer}
	}},
}

var eventBuffer = strconv.Itoa(ct.DefaultReceiveBuffer)

// eventRatios are those that are always shown.
var eventRatios = []ratio{{"events", "conntrack"}, {"events", "timo"}, {"events+flows", "conntrack"}, {"events+lines", "conntrack"}}

func eventListenerNames() []string {
	names := make([]string, len(eventListeners))
	for i := range eventListeners {
		names[i] = eventListeners[i].name
	}
	return names
}
