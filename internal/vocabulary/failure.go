package vocabulary

// OnFailure is what becomes of packets where no daemon judges them.
type OnFailure string

// What there is to choose.
const (
	// FailAccept lets them pass.
	FailAccept OnFailure = "accept"
	// FailDrop drops them.
	FailDrop OnFailure = "drop"
)

// Values lists the choices of who decides for all.
func (OnFailure) Values() []string { return words(FailAccept, FailDrop) }
