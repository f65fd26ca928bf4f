package index

import (
	"encoding/binary"
	"math/bits"
)

// Row has a bit for each rule. A nil Row stands for all of them.
type Row []uint64

// NewRow has no bits of n.
func NewRow(n int) Row { return make(Row, (n+63)/64) }

// Set sets a rule's bit.
func (r Row) Set(rule int) { r[rule/64] |= 1 << (rule % 64) }

// Has reports a rule's bit.
func (r Row) Has(rule int) bool { return r == nil || r[rule/64]&(1<<(rule%64)) != 0 }

func (r Row) clear(rule int) { r[rule/64] &^= 1 << (rule % 64) }

// or sets all that other has.
func (r Row) or(other Row) {
	for i := range r {
		r[i] |= other[i]
	}
}

// All has the bits of all of n rules.
func All(n int) Row {
	r := NewRow(n)
	for i := range n {
		r.Set(i)
	}
	return r
}

// Next is the first rule from a place on that all rows have, or -1.
func Next(rows []Row, words, from int) int {
	w := from / 64
	if w >= words {
		return -1
	}
	mask := ^uint64(0) << (from % 64)
	for ; w < words; w++ {
		for _, row := range rows {
			mask &= row[w]
		}
		if mask != 0 {
			return w*64 + bits.TrailingZeros64(mask)
		}
		mask = ^uint64(0)
	}
	return -1
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
