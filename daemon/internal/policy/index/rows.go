package index

import (
	"encoding/binary"
	"math/bits"
)

// Row has a bit for each rule. The first word says which of the others have any, a bit for
// each: of 1,000 rules a packet can match few, and most words need not be looked at.
type Row []uint64

// MostRules is how many rules an index has at most: of 64 words.
const MostRules = 64 * 64

// NewRow has no bits of n rules.
func NewRow(n int) Row { return make(Row, 1+(n+63)/64) }

// Set sets a bit.
func (r Row) Set(rule int) {
	r[0] |= 1 << (rule / 64)
	r[1+rule/64] |= 1 << (rule % 64)
}

// Has reports a bit.
func (r Row) Has(rule int) bool { return r[1+rule/64]&(1<<(rule%64)) != 0 }

func (r Row) clear(rule int) {
	w := rule / 64
	if r[1+w] &^= 1 << (rule % 64); r[1+w] == 0 {
		r[0] &^= 1 << w
	}
}

// Clear takes all bits out.
func (r Row) Clear() {
	for words := r[0]; words != 0; words &= words - 1 {
		r[1+bits.TrailingZeros64(words)] = 0
	}
	r[0] = 0
}

// Take takes the first bit out; ok is false where there is none.
func (r Row) Take() (rule int, ok bool) {
	if r[0] == 0 {
		return 0, false
	}
	w := bits.TrailingZeros64(r[0])
	rule = w*64 + bits.TrailingZeros64(r[1+w])
	if r[1+w] &= r[1+w] - 1; r[1+w] == 0 {
		r[0] &= r[0] - 1
	}
	return rule, true
}

// Common sets for each bit that all rows have the one that order has for it. There is a row
// at least.
func (r Row) Common(rows []Row, order []int) {
	words := rows[0][0]
	for _, row := range rows[1:] {
		words &= row[0]
	}
	for ; words != 0; words &= words - 1 {
		w := bits.TrailingZeros64(words)
		word := rows[0][1+w]
		for _, row := range rows[1:] {
			word &= row[1+w]
		}
		for ; word != 0; word &= word - 1 {
			r.Set(order[w*64+bits.TrailingZeros64(word)])
		}
	}
}

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
