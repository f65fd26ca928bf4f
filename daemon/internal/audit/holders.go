package audit

import (
	"context"
	"os"

	"verdictd/daemon/internal/holders"
)

// Process is who has a socket open.
type Process = holders.Process

// holders finds out who has the queues and who listens.
func (m *Machine) holders(ctx context.Context) {
	sockets, err := holders.Sockets(os.DirFS("/"))
	if err != nil {
		return // Events.Listeners.Err has it
	}
	byPort := holders.Find(ctx, sockets)
	for i := range m.Queues.Value {
		q := &m.Queues.Value[i]
		q.Holder = byPort[q.PortID]
	}
	for i := range m.Events.Listeners.Value {
		l := &m.Events.Listeners.Value[i]
		l.Process = byPort[l.PortID]
	}
}
