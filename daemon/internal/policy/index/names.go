package index

import (
	"bytes"
	"slices"
	"strings"
)

// Names is the dimension of a name in the form of package names.
type Names struct {
	rules   int
	wants   map[string]*wanted
	cares   Row
	none    Row
	of      map[string]found
	deepest int // labels of the entry with most
}

var dot = []byte(".")

type wanted struct{ self, below Row }

// found are the rows of a name and of those below it that are no entries themselves.
type found struct{ self, below Row }

// NewNames begins one for n rules.
func NewNames(n int) *Names {
	return &Names{rules: n, wants: map[string]*wanted{}, cares: NewRow(n), of: map[string]found{}}
}

// Want adds a name, or those below it, or both, to what a rule wants.
func (d *Names) Want(rule int, name string, self, below bool) {
	d.cares.Set(rule)
	w := d.wants[name]
	if w == nil {
		w = &wanted{NewRow(d.rules), NewRow(d.rules)}
		d.wants[name] = w
	}
	if self {
		w.self.Set(rule)
	}
	if below {
		w.below.Set(rule)
	}
}

// Build ends the work on it.
func (d *Names) Build() {
	d.none = others(d.rules, d.cares)
	list := make([]string, 0, len(d.wants))
	for name := range d.wants {
		list = append(list, name)
		d.deepest = max(d.deepest, 1+strings.Count(name, "."))
	}
	slices.SortFunc(list, func(a, b string) int { return len(a) - len(b) })
	var kept rows
	for _, name := range list {
		up := d.none
		if _, rest, ok := strings.Cut(name, "."); ok {
			up = d.below([]byte(rest))
		}
		w := d.wants[name]
		w.self.or(up)
		w.below.or(up)
		d.of[name] = found{kept.list[kept.intern(w.self)], kept.list[kept.intern(w.below)]}
	}
	d.wants = nil
}

// Row is a name's.
func (d *Names) Row(name []byte) Row {
	if d.deepest == 0 {
		return d.none
	}
	if at := d.beginning(name); at > 0 {
		return d.below(name[at:])
	}
	if f, ok := d.of[string(name)]; ok {
		return f.self
	}
	if _, rest, ok := bytes.Cut(name, dot); ok {
		return d.below(rest)
	}
	return d.none
}

// None is that of packets without a name.
func (d *Names) None() Row { return d.none }

// beginning is where the suffix with as many labels as any entry begins.
func (d *Names) beginning(name []byte) int {
	at := len(name)
	for range d.deepest {
		if at = bytes.LastIndexByte(name[:at], '.'); at < 0 {
			return 0
		}
	}
	return at + 1
}

// below is the row of what is below suffix, or is it and no entry itself.
func (d *Names) below(suffix []byte) Row {
	for {
		if f, ok := d.of[string(suffix)]; ok {
			return f.below
		}
		_, rest, ok := bytes.Cut(suffix, dot)
		if !ok {
			return d.none
		}
		suffix = rest
	}
}
