package advice

import (
	"fmt"
	"net/netip"
	"os"

	"verdictd/daemon/internal/sets"
	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/vocabulary"
)

// overlaps looks at the entries of sets: what is in two of them, and names that look like typing errors.
func (o *of) overlaps(list []*live.Set) {
	used, told := o.used(), map[[2]int]bool{}
	for i, s := range list {
		key := fmt.Sprintf("policy.sets[%d]", i)
		reads := &reader{of: s, odd: &oddNames{}}
		for j, other := range list {
			if j != i && other.Type == s.Type && used[other.Name] && used[s.Name] {
				reads.others = append(reads.others, &overlap{set: other, with: j})
			}
		}
		for _, entry := range s.Entries {
			_ = reads.Add([]byte(entry))
		}
		if s.File != "" {
			if f, err := os.Open(s.File); err == nil {
				_ = sets.Read(reads, s.File, f, sets.Limits{}) // it was read before, and what is wrong was told then
				_ = f.Close()
			}
		}
		for _, odd := range reads.odd.list {
			o.say(key, "%s", odd)
		}
		if more := reads.odd.seen - len(reads.odd.list); more > 0 {
			o.say(key, "%d more names look so", more)
		}
		for _, other := range reads.others {
			// One tells of both.
			if other.count > 0 && !told[[2]int{other.with, i}] {
				told[[2]int{i, other.with}] = true
				o.say(key, "has %d entries that set %s covers, such as %q: the first rule that names one of the two decides about them", other.count, other.set.Name, other.example)
			}
		}
	}
}

// overlap is what one set has that another one has, too.
type overlap struct {
	set     *live.Set
	with    int
	count   int
	example string
}

// reader takes entries of a set, for sets.Read.
type reader struct {
	of     *live.Set
	others []*overlap
	odd    *oddNames
	n      int
}

func (r *reader) Len() int { return r.n }

// Add looks at an entry; those that are none have been told of before.
func (r *reader) Add(entry []byte) error {
	r.n++
	if r.of.Type == vocabulary.SetNames {
		r.odd.add(entry)
	}
	for _, other := range r.others {
		if !has(other.set, entry) {
			continue
		}
		if other.count++; other.count == 1 {
			other.example = string(entry)
		}
	}
	return nil
}

// has reports whether a set has an entry of another one, or the beginning of it.
func has(s *live.Set, entry []byte) bool {
	switch s.Type {
	case vocabulary.SetPrefixes:
		p, err := vocabulary.ParsePrefix(entry)
		return err == nil && s.Prefixes.Load().Contains(p.Addr())
	case vocabulary.SetPorts:
		p, err := vocabulary.ParsePorts(entry)
		return err == nil && (s.Ports.Load().Contains(p.First) || s.Ports.Load().Contains(p.Last))
	case vocabulary.SetNames:
		name, _, err := vocabulary.ParseName(nil, entry)
		if err != nil {
			return false
		}
		_, found := s.Names.Load().Find(name)
		return found
	}
	p, err := netip.ParseAddrPort(string(entry))
	return err == nil && s.Pairs.Load().Contains(p.Addr(), p.Port())
}

// used are the names of sets that rules name.
func (o *of) used() map[string]bool {
	used := map[string]bool{}
	for i := range o.Policy.Rules {
		for _, r := range o.Policy.Rules[i].References() {
			used[r.Set] = true
		}
	}
	return used
}

func (o *of) unused() {
	used := o.used()
	for i := range o.Policy.Sets {
		if name := o.Policy.Sets[i].Name; !used[name] {
			o.say(fmt.Sprintf("policy.sets[%d]", i), "no rule names set %s: write \"@%s\" into a list, or take it out", name, name)
		}
	}
}
