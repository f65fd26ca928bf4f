package translate

import (
	"errors"
	"fmt"
	"slices"

	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/sets"
	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/config"
)

// Problem is what is wrong with the value of a key, for people.
type Problem struct {
	Key, Text string
	// OfFile: the configuration contradicts itself, which no other start mends.
	OfFile bool
}

// Problems are those of a policy.
type Problems []Problem

// OfFile reports whether one of them is of the configuration itself.
func (p Problems) OfFile() bool {
	return slices.ContainsFunc(p, func(one Problem) bool { return one.OfFile })
}

func (p Problems) Error() string {
	var errs []error
	for _, one := range p {
		errs = append(errs, fmt.Errorf("%s: %s", one.Key, one.Text))
	}
	return errors.Join(errs...).Error()
}

// Sets opens those that a policy declares. One that is declared as among those before, which
// may be none, is that one: with what is in force of it, and what was counted.
func Sets(p *config.Policy, before []*live.Set) (list []*live.Set, problems Problems) {
	for i := range p.Sets {
		src := source(&p.Sets[i])
		if at := slices.IndexFunc(before, func(s *live.Set) bool { return s.Same(&src) }); at >= 0 {
			list = append(list, before[at])
			continue
		}
		s, err := live.Open(src)
		if err != nil {
			problems = append(problems, setProblems(fmt.Sprintf("policy.sets[%d]", i), err)...)
			continue
		}
		list = append(list, s)
	}
	return list, problems
}

func source(s *config.Set) live.Source {
	src := live.Source{Name: s.Name, Type: s.Type, File: s.File}
	for _, e := range s.Entries {
		src.Entries = append(src.Entries, string(e))
	}
	return src
}

// setProblems takes an error of live.Open apart. Each problem of a file names its line.
func setProblems(key string, err error) (list Problems) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, setProblems(key, e)...)
		}
		return list
	}
	var entry *live.EntryError
	var lines *sets.Problems
	var file *live.FileError
	switch {
	case errors.As(err, &entry):
		return Problems{{Key: fmt.Sprintf("%s.entries[%d]", key, entry.Index), Text: entry.Error()}}
	case errors.As(err, &lines):
		for _, l := range lines.List {
			list = append(list, Problem{Key: key + ".file", Text: fmt.Sprintf("%s:%d: %q %v", lines.Source, l.Line, l.Text, l.Why)})
		}
		if more := lines.Count - len(lines.List); more > 0 {
			list = append(list, Problem{Key: key + ".file", Text: fmt.Sprintf("%s: %d more lines are wrong", lines.Source, more)})
		}
		return list
	case errors.As(err, &file):
		return Problems{{Key: key + ".file", Text: file.Error()}}
	}
	return Problems{{Key: key, Text: err.Error()}}
}

// named finds sets by the names that rules have.
type named struct {
	list     []*live.Set
	problems Problems
}

// of are the sets of those names, each by what pick takes of it.
func of[T any](n *named, key string, names []string, pick func(*live.Set) *policy.Set[T]) (list []*policy.Set[T]) {
	for _, name := range names {
		at := slices.IndexFunc(n.list, func(s *live.Set) bool { return s.Name == name })
		if at < 0 {
			n.problems = append(n.problems, Problem{Key: key, Text: fmt.Sprintf("there is no set %q: declare it in policy.sets", name)})
			continue
		}
		list = append(list, pick(n.list[at]))
	}
	return list
}
