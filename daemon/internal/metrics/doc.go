// Package metrics exists so that who watches over many machines sees what the daemon
// counts, while it counts: it serves Prometheus, and whoever asks whether the daemon
// lives and is ready.
//
//	collector.go  what the types of package statistics count, found by their tags
//	times.go      histograms, for old and new Prometheus at once
//	state.go      what happens rarely: reloads, restarts, rules that others remove
//	server.go     /metrics, /healthz and /readyz, with TLS and passwords where wanted
//
// docs/metrics.md lists all of them, and is compared by a test.
// A counter that is added to package statistics appears by itself.
package metrics
