package control

import (
	"fmt"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/statistics"
)

// Schema is the version of the documents. It grows when a key changes its meaning or
// goes away; new keys may come without it.
const Schema = 1

// State is what a daemon is doing.
type State string

// A life, in its order.
const (
	Starting  State = "starting"
	Running   State = "running"
	Reloading State = "reloading"
	Stopping  State = "stopping"
)

// Status is what a daemon tells of itself.
type Status struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	// Command is run or guard.
	Command string    `json:"command"`
	PID     int       `json:"pid"`
	State   State     `json:"state"`
	Started time.Time `json:"started"`
	// Uptime is in seconds.
	Uptime float64 `json:"uptime_seconds"`
	// NetNS is the number of the network namespace, as in `ls -L -i /proc/PID/ns/net`.
	NetNS         uint64        `json:"netns"`
	Configuration Configuration `json:"configuration"`
	// Queues are those bound, of verdicts and of the gate.
	Queues []Queue `json:"queues"`
	// Copied is absent where the daemon judges nothing.
	Copied  *Copied `json:"copied,omitempty"`
	Guard   Guard   `json:"guard"`
	Rules   Rules   `json:"rules"`
	Loss    Loss    `json:"loss"`
	Reloads Reloads `json:"reloads"`
	// Takeovers are of the start.
	Takeovers Takeovers `json:"takeovers"`
	Audit     Audit     `json:"audit"`
	// Statistics are what was counted so far (verdictd-statistics.json).
	Statistics *statistics.Document `json:"statistics"`
}

// Configuration says which one is in force.
type Configuration struct {
	// File it was read from; empty: the defaults.
	File string    `json:"file"`
	Read time.Time `json:"read"`
	// OnDisk is same, changed (since it was read), or unreadable.
	OnDisk string `json:"on_disk"`
}

// Copied is how much of each packet the kernel copies to the daemon for its verdict.
type Copied struct {
	// Configured is queues.copy_range.
	Configured string `json:"configured"`
	Bytes      uint32 `json:"bytes"`
	// Why is what that is, in words.
	Why string `json:"why"`
}

// Comment is a line of YAML that says so.
func (c *Copied) Comment() string { return "# copied: " + c.text() + "\n" }

func (c *Copied) text() string {
	return fmt.Sprintf("%d bytes of each packet (queues.copy_range %s): %s", c.Bytes, c.Configured, c.Why)
}

// Queue is one that the daemon has bound, as the kernel tells of it.
type Queue struct {
	Queue uint16 `json:"queue"`
	// For is verdicts or gate.
	For string `json:"for"`
	// Bound is false where the kernel does not list the queue.
	Bound bool `json:"bound"`
	// Waiting packets have no verdict yet.
	Waiting uint32 `json:"waiting"`
	// CopyRange is how many bytes of each packet the kernel copies.
	CopyRange uint32 `json:"copy_range"`
	// Queued is how many packets it was given, modulo 2^32.
	Queued uint32 `json:"queued"`
	statistics.KernelDrops
}

// Guard is what the clash guard does.
type Guard struct {
	// Configured is guard.mode, Mode what the guard does now.
	Configured string `json:"configured"`
	Mode       string `json:"mode"`
	// Why is the reason for Mode.
	Why string `json:"why"`
	// Held packets wait in the gate now.
	Held int `json:"held"`
	// Guarded are the rules whose queues are guarded, Uncovered what cannot be.
	Guarded   []string `json:"guarded"`
	Uncovered []string `json:"uncovered"`
}

// Rules are the daemon's own in the kernel.
type Rules struct {
	Table     string `json:"table"`
	Placement string `json:"placement"`
	// Statement is the kind of queue statement; empty: no rule of the daemon queues.
	Statement string `json:"statement"`
	Present   bool   `json:"present"`
}

// Loss is what was not guarded, or never judged.
type Loss struct {
	// KernelDrops of all queues.
	statistics.KernelDrops
	// Unguarded and Expired packets passed the gate and may have clashed.
	Unguarded uint64 `json:"unguarded"`
	Expired   uint64 `json:"expired"`
}

// Reloads are those since the start.
type Reloads struct {
	Done    uint64 `json:"done"`
	Refused uint64 `json:"refused"`
	// Last is absent where there was none.
	Last *Reload `json:"last,omitempty"`
}

// Takeovers are what the daemon began with: queues that a process before had bound, with
// what waited in them.
type Takeovers struct {
	// Restarts is how many there were in a row, this start included, in which a daemon
	// went on with the queues of the one before; 0: it began with none.
	Restarts uint64 `json:"restarts"`
	Verdicts int    `json:"verdicts"`
	Gate     int    `json:"gate"`
}

// Result is how a reload ended.
type Result string

// A reload is done, or it changes nothing: as nothing was to be changed, or as it is
// refused.
const (
	Done      Result = "done"
	Unchanged Result = "unchanged"
	Refused   Result = "refused"
)

// Reload is one, and its result.
type Reload struct {
	Schema int       `json:"schema"`
	Result Result    `json:"result"`
	File   string    `json:"file"`
	Began  time.Time `json:"began"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
	// Changed keys are those that differ from what was in force.
	Changed []string `json:"changed"`
	// Problems are why it was refused: of the file, of what it names, and keys that
	// change with a restart only.
	Problems []Problem `json:"problems"`
	// Error is what failed else.
	Error string `json:"error,omitempty"`
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Key    string `json:"key"`
	Text   string `json:"text"`
}

// Problems are those of an error of package config.
func Problems(list []*config.KeyError) []Problem {
	problems := make([]Problem, 0, len(list))
	for _, e := range list {
		problems = append(problems, Problem(*e))
	}
	return problems
}

// Error is the line that an operator reads: file, line, column.
func (p *Problem) Error() string { return (*config.KeyError)(p).Error() }

// Audit is what the audit found last.
type Audit struct {
	Verdict string `json:"verdict"`
	Answer  string `json:"answer"`
}

// Effective is the configuration in force with all its defaults.
type Effective struct {
	Schema int    `json:"schema"`
	File   string `json:"file"`
	// YAML is a file that does the same. What auto stands for is in comments before it.
	YAML string `json:"yaml"`
}

// Error is why there is no answer.
type Error struct {
	Schema int    `json:"schema"`
	Text   string `json:"error"`
}
