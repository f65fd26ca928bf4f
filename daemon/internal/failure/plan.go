package failure

import (
	"encoding/json"
	"fmt"
	"time"

	"verdictd/internal/vocabulary"
)

// Plan is what a daemon wants to become of packets without it.
type Plan struct {
	OnFailure vocabulary.OnFailure `json:"on_failure"`
	// LongestWait is how long packets wait for another daemon; 0: for ever.
	LongestWait time.Duration `json:"longest_wait"`
	// Table is the nftables table with the daemon's rules.
	Table string `json:"table"`
	// FirstQueue and Queues are those of the verdicts; the daemon's others are its gate's.
	FirstQueue uint16 `json:"first_queue"`
	Queues     int    `json:"queues"`
	// NetNS is the number of the daemon's network namespace; 0: whoever carries the plan out is in it.
	NetNS uint64 `json:"netns,omitempty"`
}

// String is the plan in one line, for Parse.
func (p Plan) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		return err.Error() // it has no type that cannot be written
	}
	return string(b)
}

// Parse reads what String wrote.
func Parse(text string) (Plan, error) {
	var p Plan
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = vocabulary.Check("choice of on_failure", p.OnFailure)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("read what is to become of packets: %w", err)
	}
	return p, nil
}

// verdicts reports whether a queue is one whose packets the daemon judges.
func (p Plan) verdicts(queue uint16) bool {
	n := int(queue) - int(p.FirstQueue)
	return n >= 0 && n < p.Queues
}
