package advice

import (
	"cmp"
	"fmt"
	"slices"

	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/config"
)

// of collects advice about one file.
type of struct {
	*config.File
	list []*config.KeyError
}

// Of is the advice about a configuration, in the order of its files and lines. The sets are those of its policy, as
// package translate opens them.
func Of(f *config.File, sets []*live.Set) []*config.KeyError {
	o := &of{File: f}
	o.shadows()
	o.names()
	o.overlaps(sets)
	o.unused()
	o.queued()
	o.costs()
	o.files()
	slices.SortStableFunc(o.list, func(a, b *config.KeyError) int {
		return cmp.Or(cmp.Compare(f.Order(a), f.Order(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return o.list
}

func (o *of) say(key, format string, args ...any) {
	o.list = append(o.list, o.Problem(key, format, args...))
}

// rule is what a rule is called in advice about another one.
func (o *of) rule(i int) string {
	at := o.Problem(ruleKey(i), "")
	name := o.Policy.Rules[i].Name
	if name == "" {
		name = fmt.Sprintf("#%d", i+1)
	}
	return fmt.Sprintf("rule %s (%s:%d)", name, at.File, at.Line)
}

func ruleKey(i int) string { return fmt.Sprintf("policy.rules[%d]", i) }

// files is about lists that one may read in two ways, and patterns that stand for nothing.
func (o *of) files() {
	for i := range o.Policy.Rules {
		r := &o.Policy.Rules[i]
		for field, n := range map[string]int{
			"protocols": len(r.Protocols), "source": len(r.Source), "destination": len(r.Destination),
			"source_ports": len(r.SourcePorts), "destination_ports": len(r.DestinationPorts),
		} {
			if key := ruleKey(i) + "." + field; n == 0 && o.Written(key) {
				o.say(key, "is empty, which matches every packet: take it out, or name what is meant")
			}
		}
	}
	for i, pattern := range o.Policy.Include {
		if names, err := config.Matching(pattern); err == nil && len(names) == 0 {
			o.say(fmt.Sprintf("policy.include[%d]", i), "there is no file %s yet", pattern)
		}
	}
}
