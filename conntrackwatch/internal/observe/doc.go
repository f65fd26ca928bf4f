// Package observe reads what network namespaces count, side by side, for people
// and for Prometheus: conntrack's counters and table, and the queues.
//
// It reads and never listens to events: where nf_conntrack_events is 2, a
// listener makes the kernel attach them to entries, and takes part in what it
// watches. Whoever listens adds what it counted with [Source.PublishEvents].
package observe
