package runner

import "verdictd/daemon/internal/gate"

// Configure has packets meet other settings from each worker's next turn on: Drop,
// FlowPackets, Hold, HoldLimit and List. The rest of a table's configuration is memory,
// and stays as it is.
func (g *Gate) Configure(c gate.Config) {
	g.settings.Store(&c)
	for _, w := range g.workers {
		w.bell.ring()
	}
}

// configure takes settings that are new to this worker.
func (w *worker) configure() {
	if c := w.gate.settings.Load(); c != w.settings {
		w.settings = c
		w.table.Configure(c)
	}
}
