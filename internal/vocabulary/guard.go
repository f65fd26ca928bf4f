package vocabulary

// GuardMode is what the guard does with the further packets of a flow whose first is
// on its way to conntrack's table.
type GuardMode string

// Choose; hold them until the first is there; drop them; nothing.
const (
	// GuardAuto is hold where a queue is exposed; the daemon says which mode it chose,
	// and why.
	GuardAuto GuardMode = "auto"
	GuardHold GuardMode = "hold"
	GuardDrop GuardMode = "drop"
	GuardOff  GuardMode = "off"
)

// Values lists the modes.
func (GuardMode) Values() []string { return words(GuardAuto, GuardHold, GuardDrop, GuardOff) }
