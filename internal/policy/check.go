package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"verdictd/internal/vocabulary"
)

// RuleError is one problem of one rule.
type RuleError struct {
	// Index is the rule's in the list, from 0; -1 stands for the default.
	Index int
	Name  string
	// Field is "action", "protocols", "source", "destination", "source_ports",
	// "destination_ports" or "default".
	Field string
	// Item is the index in the field's list, -1 where it is the whole field.
	Item int
	// Problem says what is wrong and what to do.
	Problem string
}

func (e *RuleError) Error() string {
	switch {
	case e.Index < 0:
		return fmt.Sprintf("policy: %s: %s", e.Field, e.Problem)
	case e.Name == "":
		return fmt.Sprintf("policy: rule %d: %s: %s", e.Index, e.Field, e.Problem)
	}
	return fmt.Sprintf("policy: rule %d (%s): %s: %s", e.Index, e.Name, e.Field, e.Problem)
}

// RuleErrors is what Compile fails with.
type RuleErrors []*RuleError

func (list RuleErrors) Error() string { return errors.Join(list.Unwrap()...).Error() }

// Unwrap gives every problem.
func (list RuleErrors) Unwrap() (problems []error) {
	for _, e := range list {
		problems = append(problems, e)
	}
	return problems
}

func check(def vocabulary.Action, rules []Rule) error {
	var problems RuleErrors
	report := func(index int, field string, item int, format string, args ...any) {
		e := &RuleError{Index: index, Field: field, Item: item, Problem: fmt.Sprintf(format, args...)}
		if index >= 0 {
			e.Name = rules[index].Name
		}
		problems = append(problems, e)
	}
	checkAction := func(index int, field string, a vocabulary.Action) {
		if a > vocabulary.Drop {
			report(index, field, -1, "action %d does not exist: use accept (%d) or drop (%d)", a, vocabulary.Accept, vocabulary.Drop)
		}
	}
	checkAction(-1, "default", def)
	for i, r := range rules {
		checkAction(i, "action", r.Action)
		for _, list := range []struct {
			field    string
			prefixes []netip.Prefix
		}{{"source", r.Source}, {"destination", r.Destination}} {
			for j, prefix := range list.prefixes {
				if !prefix.IsValid() {
					report(i, list.field, j, "the prefix is not valid: write it like 192.0.2.0/24 or 2001:db8::/32")
				} else if masked := prefix.Masked(); masked != prefix {
					report(i, list.field, j, "%s has bits set beyond its length: write %s or %s", prefix, masked, netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen()))
				}
			}
		}
		if oneFamilyEach(r.Source, r.Destination) {
			report(i, "destination", -1, "one of source and destination is all IPv4 and the other all IPv6, which no packet is: split or correct the rule")
		}
		for _, list := range []struct {
			field string
			ports []vocabulary.PortRange
		}{{"source_ports", r.SourcePorts}, {"destination_ports", r.DestinationPorts}} {
			for j, ports := range list.ports {
				if ports.First > ports.Last {
					report(i, list.field, j, "%d-%d begins above its end: write %d-%d", ports.First, ports.Last, ports.Last, ports.First)
				}
			}
			if len(list.ports) == 0 {
				continue
			}
			for j, protocol := range r.Protocols {
				if !vocabulary.HasPorts(protocol) {
					report(i, "protocols", j, "protocol %d has no ports, so it can never match %s: give it a rule of its own", protocol, list.field)
				}
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// oneFamilyEach reports lists that no packet can match both of. An invalid
// prefix has its own problem and counts as either.
func oneFamilyEach(a, b []netip.Prefix) bool {
	is4 := func(p netip.Prefix) bool { return !p.Addr().Is6() }
	is6 := func(p netip.Prefix) bool { return !p.Addr().Is4() }
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	both4 := slices.ContainsFunc(a, is4) && slices.ContainsFunc(b, is4)
	both6 := slices.ContainsFunc(a, is6) && slices.ContainsFunc(b, is6)
	return !both4 && !both6
}
