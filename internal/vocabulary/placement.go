package vocabulary

// Placement is where on the packets' way through the kernel they are queued.
type Placement string

// The placements. Conntrack looks a packet up at priority -200 of PREROUTING and
// OUTPUT and confirms its entry last in INPUT and POSTROUTING; a queue between
// the two is exposed to clashes.
const (
	PlacementNone         Placement = "none"          // no rules at all
	PlacementPreConntrack Placement = "pre-conntrack" // OUTPUT and PREROUTING, before the lookup: no clashes, no conntrack state
	PlacementNotrack      Placement = "notrack"       // OUTPUT and INPUT, with the packets exempt from tracking
	PlacementOutput       Placement = "output"
	PlacementPostrouting  Placement = "postrouting"
	PlacementInput        Placement = "input"
	PlacementForward      Placement = "forward"
	PlacementVerdict3     Placement = "verdict3" // first of all in INPUT and in POSTROUTING
)

// Placements are all there are, those without clashes first.
func Placements() []Placement {
	return []Placement{
		PlacementNone, PlacementPreConntrack, PlacementNotrack, PlacementOutput,
		PlacementPostrouting, PlacementInput, PlacementForward, PlacementVerdict3,
	}
}

// Values lists the placements.
func (Placement) Values() []string { return words(Placements()...) }

// Exposed reports whether packets wait between conntrack's lookup and its confirm,
// where those of one flow clash.
func (p Placement) Exposed() bool {
	switch p {
	case PlacementNone, PlacementPreConntrack, PlacementNotrack:
		return false
	}
	return true
}
