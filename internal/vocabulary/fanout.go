package vocabulary

// Fanout is how packets are spread over several queues.
type Fanout string

// The fan-outs.
const (
	// FanoutBalance hashes the two addresses and, in IPv4, the protocol; the
	// two directions of a flow share a queue.
	FanoutBalance Fanout = "balance"

	// FanoutCPU takes the queue of the CPU that the packet is on: without cost,
	// but one flow may reach two queues.
	FanoutCPU Fanout = "cpu"

	// FanoutPorts hashes addresses and ports, so that the flows between two
	// hosts are spread. The two directions of a flow have different queues.
	FanoutPorts Fanout = "ports"

	// FanoutNumgen takes the queues in turn. Each flow reaches all of them.
	FanoutNumgen Fanout = "numgen"
)

// Fanouts are all there are.
func Fanouts() []Fanout { return []Fanout{FanoutBalance, FanoutCPU, FanoutPorts, FanoutNumgen} }

// Values lists the fan-outs.
func (Fanout) Values() []string { return words(Fanouts()...) }

// ChainPerQueue tells fan-outs that a map to one chain for each queue does.
func (f Fanout) ChainPerQueue() bool { return f == FanoutPorts || f == FanoutNumgen }

// MaxQueues is how many queues the fan-out serves at most. The elements of a map to
// their chains must fit one netlink attribute (64 KiB).
func (f Fanout) MaxQueues() int {
	if f.ChainPerQueue() {
		return 256
	}
	return MaxQueue
}
