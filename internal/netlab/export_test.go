package netlab

// What tests look at from outside.
var (
	Advice    = advice
	Forbidden = forbidden
)

// Owned is how many namespaces the topology has made.
func (t *Topology) Owned() int { return len(t.owned) }
