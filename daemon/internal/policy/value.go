package policy

// Value is what a packet is to a match, in Kleene's logic: a match on a name that is not
// known yet is Pending.
type Value uint8

// The values in their order: of all the least counts, of any the most.
const (
	No Value = iota
	Pending
	Yes
)

func (v Value) String() string { return [...]string{"no", "pending", "yes"}[v] }

func (v Value) not() Value { return Yes - v }

func valueOf(b bool) Value {
	if b {
		return Yes
	}
	return No
}
