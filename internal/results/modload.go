package results

import "verdictd/internal/kernelfacts"

// Modload is what `stress modload` writes.
type Modload struct {
	Config ModloadConfig `json:"config"`
	// Modprobe is the program that the kernel runs, Kmod what it says of itself or why it does not, KmodRace whether it
	// has the race that this looks for.
	Modprobe string             `json:"modprobe"`
	Kmod     string             `json:"kmod"`
	KmodRace kernelfacts.Status `json:"kmod_race"`

	// Rounds are those that were completed.
	Rounds int `json:"rounds"`
	// Opened counts the threads that got what they asked for, Failed those that did not.
	Opened uint64 `json:"opened"`
	Failed uint64 `json:"failed"`
	// Errors are the failures by errno: EPROTONOSUPPORT from a socket, EINVAL from nfnetlink, or others.
	Errors map[string]uint64 `json:"errors"`
	// FailedRounds counts the rounds in which a thread failed; FirstFailure is the number of the first, 0 for none.
	FailedRounds int `json:"failed_rounds"`
	FirstFailure int `json:"first_failure"`
	// StartErrors counts the rounds in which modules-first itself gave up.
	StartErrors int `json:"start_errors"`

	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted"`
	TimedOut    bool    `json:"timed_out"`
}

// ModloadConfig says what the run did.
type ModloadConfig struct {
	// Part is the name of what the threads ask for: a protocol or a subsystem. Alias is what the kernel asks modprobe
	// for.
	Part  string `json:"part"`
	Alias string `json:"alias"`
	// Module is what is unloaded before each round, with those of Needs that were not loaded before the run.
	Module string   `json:"module"`
	Needs  []string `json:"needs"`

	Threads  int    `json:"threads"`
	Rounds   int    `json:"rounds"`
	Strategy string `json:"strategy"`
}
