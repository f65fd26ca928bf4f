package index

import "encoding/binary"

// Row has a bit for each rule, or for something else that is numbered.
type Row []uint64

// NewRow has no bits of n.
func NewRow(n int) Row { return make(Row, (n+63)/64) }

// Set sets a bit.
func (r Row) Set(rule int) { r[rule/64] |= 1 << (rule % 64) }

// Has reports a bit.
func (r Row) Has(rule int) bool { return r[rule/64]&(1<<(rule%64)) != 0 }

func (r Row) clear(rule int) { r[rule/64] &^= 1 << (rule % 64) }

// or sets all that other has.
func (r Row) or(other Row) {
	for i := range r {
		r[i] |= other[i]
	}
}

// all has the bits of all of n rules.
func all(n int) Row {
	r := NewRow(n)
	for i := range n {
		r.Set(i)
	}
	return r
}

// rows keeps each row once.
type rows struct {
	list  []Row
	known map[string]int
	bytes []byte
}

// intern returns the number of a row like this one.
func (r *rows) intern(row Row) int {
	r.bytes = r.bytes[:0]
	for _, w := range row {
		r.bytes = binary.LittleEndian.AppendUint64(r.bytes, w)
	}
	if i, ok := r.known[string(r.bytes)]; ok {
		return i
	}
	if r.known == nil {
		r.known = map[string]int{}
	}
	i := len(r.list)
	r.known[string(r.bytes)] = i
	r.list = append(r.list, append(Row(nil), row...))
	return i
}
