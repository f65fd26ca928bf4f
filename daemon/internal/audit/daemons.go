package audit

import "fmt"

// Daemon is a running verdictd that was asked.
type Daemon struct {
	// Socket is where it was asked.
	Socket string `json:"socket,omitempty"`
	// Command is run or guard.
	Command string `json:"command,omitempty"`
	PID     int    `json:"pid,omitempty"`
	// NetNS is the number of its network namespace; 0: not known.
	NetNS uint64 `json:"netns,omitempty"`
	// Guard is what its guard does now, Queues are those of verdicts that it guards.
	Guard  string   `json:"guard,omitempty"`
	Queues []uint16 `json:"queues,omitempty"`
	// Verdict and Answer are its own.
	Verdict Verdict `json:"verdict,omitempty"`
	Answer  string  `json:"answer,omitempty"`
	// Elsewhere: it is in another network namespace, or nobody knows in which, so that
	// what it guards says nothing here.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Error is why it has not answered.
	Error string `json:"error,omitempty"`
}

// guards are the queues in this network namespace that daemons guard.
func guards(daemons []Daemon) (queues []uint16) {
	for _, d := range daemons {
		if !d.Elsewhere {
			queues = append(queues, d.Queues...)
		}
	}
	return queues
}

// String says who was asked, and what was answered.
func (d *Daemon) String() string {
	who := fmt.Sprintf("verdictd %s, process %d", d.Command, d.PID)
	switch {
	case d.Error != "":
		return fmt.Sprintf("The daemon at %s has not answered: %s.", d.Socket, d.Error)
	case d.Elsewhere:
		return fmt.Sprintf("Asked %s, which is in another network namespace: --netns has the audit look there.", who)
	}
	guard := "its guard has nothing to do"
	if d.Guard != "" && d.Guard != "off" {
		guard = "its guard is at work (" + d.Guard + ")"
	}
	return fmt.Sprintf("Asked %s: %s. It says: %s", who, guard, d.Answer)
}
