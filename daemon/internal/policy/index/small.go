package index

// Small is the dimension of a value below 256.
type Small struct {
	rules int
	of    [256]Row
	cares Row
}

// NewSmall begins one for n rules.
func NewSmall(n int) *Small { return &Small{rules: n, cares: NewRow(n)} }

// Want adds a value to those that a rule wants.
func (d *Small) Want(rule int, value uint8) {
	d.cares.Set(rule)
	if d.of[value] == nil {
		d.of[value] = NewRow(d.rules)
	}
	d.of[value].Set(rule)
}

// Build ends the work on it.
func (d *Small) Build() {
	var r rows
	other := others(d.rules, d.cares)
	for value := range d.of {
		row := append(Row(nil), other...)
		if d.of[value] != nil {
			row.or(d.of[value])
		}
		d.of[value] = r.list[r.intern(row)]
	}
}

// Row is a value's.
func (d *Small) Row(value uint8) Row { return d.of[value] }

// others are the rules that do not care.
func others(n int, cares Row) Row {
	r := NewRow(n)
	for rule := range n {
		if !cares.Has(rule) {
			r.Set(rule)
		}
	}
	return r
}
