package sets

import (
	"bytes"
	"hash/maphash"
	"slices"
	"time"

	"verdictd/internal/vocabulary"
)

// Names is a set of names, each for itself, for all below it, or for both.
//
// Entries are in memory one behind the other: what they cover, the length, the name. A
// table of hashes says where. A slot has 32 bits of the hash and the place, so that a name
// that is not there costs one look into memory for each suffix.
type Names struct {
	Info
	seed    maphash.Seed
	slots   []uint64 // hash<<32 | place; 0: free
	text    []byte
	deepest int // labels of the entry with most
}

// Find looks a name up, in the form of package names. It returns the entry that covers
// it, as a part of name: name itself, or the longest suffix.
func (s *Names) Find(name []byte) (entry []byte, ok bool) {
	if s.Entries == 0 {
		return nil, false
	}
	// Suffixes with more labels than any entry need not be tried.
	at, labels := len(name), 0
	for at > 0 && labels < s.deepest {
		at = bytes.LastIndexByte(name[:at], '.')
		labels++
		if at < 0 {
			at = 0
			break
		}
	}
	if at > 0 {
		at++ // behind the dot
	}
	for {
		suffix := name[at:]
		want := byte(vocabulary.CoversBelow)
		if at == 0 {
			want = byte(vocabulary.CoversSelf)
		}
		if place := s.place(suffix); place != 0 && s.text[place]&want != 0 {
			return suffix, true
		}
		dot := bytes.IndexByte(suffix, '.')
		if dot < 0 {
			return nil, false
		}
		at += dot + 1
	}
}

// place is where the entry of that name is in text, or 0.
func (s *Names) place(name []byte) uint32 {
	if len(s.slots) == 0 || len(name) > 0xff {
		return 0
	}
	h := maphash.Bytes(s.seed, name)
	for i := h & s.mask(); s.slots[i] != 0; i = (i + 1) & s.mask() {
		if slot := s.slots[i]; slot>>32 == h>>32 && string(s.at(uint32(slot))) == string(name) {
			return uint32(slot)
		}
	}
	return 0
}

func (s *Names) mask() uint64 { return uint64(len(s.slots) - 1) }

func (s *Names) at(place uint32) []byte {
	n := int(s.text[place+1])
	return s.text[int(place)+2 : int(place)+2+n]
}

// put enters a place into the table, in which there is room and not that name.
func (s *Names) put(place uint32) {
	h := maphash.Bytes(s.seed, s.at(place))
	i := h & s.mask()
	for s.slots[i] != 0 {
		i = (i + 1) & s.mask()
	}
	s.slots[i] = h>>32<<32 | uint64(place)
}

// NamesBuilder makes Names. It is made by NewNames.
type NamesBuilder struct {
	set    *Names
	buffer []byte
}

// NewNames begins a set.
func NewNames() *NamesBuilder {
	// No entry is at place 0.
	return &NamesBuilder{set: &Names{seed: maphash.MakeSeed(), slots: make([]uint64, 64), text: []byte{0}}}
}

// Add takes a name, *.name or =name.
func (b *NamesBuilder) Add(entry []byte) error {
	name, covers, err := vocabulary.ParseName(b.buffer[:0], entry)
	if err != nil {
		return err
	}
	b.buffer = name
	s := b.set
	if place := s.place(name); place != 0 {
		s.text[place] |= byte(covers)
		return nil
	}
	if uint64(len(s.text)) > 1<<32-1<<10 {
		return ErrTooMany
	}
	place := uint32(len(s.text))
	s.text = append(append(s.text, byte(covers), byte(len(name))), name...)
	s.Entries++
	s.deepest = max(s.deepest, 1+bytes.Count(name, []byte(".")))
	if s.Entries > len(s.slots)/4*3 {
		b.grow()
		return nil
	}
	s.put(place)
	return nil
}

// grow makes the table twice as long and enters all.
func (b *NamesBuilder) grow() {
	s := b.set
	s.slots = make([]uint64, 2*len(s.slots))
	for place := 1; place < len(s.text); place += 2 + int(s.text[place+1]) {
		s.put(uint32(place))
	}
}

// Len is how many names there are.
func (b *NamesBuilder) Len() int { return b.set.Entries }

// Build ends the work on the set.
func (b *NamesBuilder) Build(now time.Time) *Names {
	s := b.set
	b.set, b.buffer = nil, nil
	s.Loaded = now
	s.text = slices.Clip(slices.Clone(s.text)) // without the room to grow
	return s
}
