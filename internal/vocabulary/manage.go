package vocabulary

// Manage is what is done about the daemon's own rules where somebody else changes them.
type Manage string

// What there is to choose.
const (
	// ManageEnforce puts them back.
	ManageEnforce Manage = "enforce"
	// ManageObserve only says it.
	ManageObserve Manage = "observe"
)

// Values lists them.
func (Manage) Values() []string { return words(ManageEnforce, ManageObserve) }
