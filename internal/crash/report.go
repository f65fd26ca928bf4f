package crash

// The kinds of reports.
const (
	KindOops     = "oops"  // a fault in the kernel: NULL dereference, page fault, general protection fault
	KindKASAN    = "kasan" // KASAN found an invalid access
	KindBug      = "bug"   // BUG(), and what the other checkers print as BUG: or UBSAN:
	KindWarning  = "warning"
	KindHungTask = "hung-task"
	KindLockup   = "lockup" // soft, hard and workqueue lockups, RCU stalls
	KindPanic    = "panic"  // a panic that follows from no report before it
)

// Report is one thing that the kernel reported.
type Report struct {
	// Signature is the id of what it was recognised as, "" for unknown. See [Signatures].
	Signature string `json:"signature"`
	Kind      string `json:"kind"`
	// Title is the line that names what happened.
	Title string `json:"title"`
	// About is what is known about that signature.
	About string `json:"about,omitempty"`
	// Lines are the report, without timestamps.
	Lines []string `json:"lines"`
	// At is when it was logged, in seconds of the kernel log's clock, where that is known.
	At *float64 `json:"at,omitempty"`
}
