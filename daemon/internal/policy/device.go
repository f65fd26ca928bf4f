package policy

import (
	"slices"
	"strings"

	"verdictd/daemon/internal/policy/index"
)

// deviceTable is what the interfaces of now are to the policy. It does not change.
type deviceTable struct {
	of   map[uint32]*device
	none *device // for a packet without one, or with one that nobody has told
}

type device struct {
	name string
	*fitting
}

// fitting is the same for all interfaces that the same patterns stand for.
type fitting struct {
	patterns []bool      // that the name fits
	in, out  []index.Row // of rules, by chunk
}

func (t *deviceTable) at(i uint32) *device {
	if d, ok := t.of[i]; ok {
		return d
	}
	return t.none
}

// SetDevices tells the names of interfaces by their indices, at the beginning and whenever
// they change. Workers may decide meanwhile.
func (p *Policy) SetDevices(names map[uint32]string) {
	if p == nil {
		return
	}
	known := map[string]*fitting{}
	t := &deviceTable{of: make(map[uint32]*device, len(names)), none: &device{fitting: p.fitting(known, "")}}
	for i, name := range names {
		t.of[i] = &device{name, p.fitting(known, name)}
	}
	p.devices.Store(t)
}

// fitting is made once for each combination of patterns.
func (p *Policy) fitting(known map[string]*fitting, name string) *fitting {
	f := &fitting{patterns: make([]bool, len(p.patterns))}
	key := make([]byte, len(p.patterns))
	for i, pattern := range p.patterns {
		if name != "" && fits(pattern, name) {
			f.patterns[i] = true
			key[i] = 1
		}
	}
	if same, ok := known[string(key)]; ok {
		return same
	}
	known[string(key)] = f
	for _, c := range p.chunks {
		f.in = append(f.in, c.deviceRow(c.in, f.patterns))
		f.out = append(f.out, c.deviceRow(c.out, f.patterns))
	}
	return f
}

// deviceRow has the rules that want one of the patterns, or do not care.
func (c *chunk) deviceRow(wanted map[int][]int, patterns []bool) index.Row {
	row := index.NewRow(c.rules)
	for rule := range c.rules {
		list, cares := wanted[rule]
		if !cares || hasAny(patterns, list) {
			row.Set(rule)
		}
	}
	return row
}

func hasAny(patterns []bool, list []int) bool {
	return slices.ContainsFunc(list, func(i int) bool { return patterns[i] })
}

// fits tells whether a pattern stands for an interface's name.
func fits(pattern, name string) bool {
	if before, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, before)
	}
	return pattern == name
}
