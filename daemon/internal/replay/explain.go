package replay

import (
	"fmt"
	"strings"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/policy"
)

// Explain tells which rules were tried, which part of each failed, and what decided, a line each.
func Explain(r *engine.Replay, j *engine.Judged) (lines []string) {
	if j.Input.View.Version == 0 {
		return []string{"the headers cannot be decoded to their end, so no rule could look: policy.undecodable decides"}
	}
	rules := r.Rules()
	e := r.Explain(j)
	for i := range e.Tried {
		t := &e.Tried[i]
		line := fmt.Sprintf("rule %d %q (%v): %s", t.Rule+1, t.Name, t.Action, valueText(t))
		if failed := failedParts(t.Parts, t.Match); len(failed) > 0 {
			line += ": " + strings.Join(failed, ", ")
		}
		lines = append(lines, line)
	}
	last := fmt.Sprintf("%q decides: %v", rules[j.Rule].Name, j.Verdict.Action)
	switch {
	case j.Verdict.Rule >= r.Count():
		last = fmt.Sprintf("no rule matches: %v by default", j.Verdict.Action)
	case j.Verdict.Pending:
		last = fmt.Sprintf("%q waits for the flow's name: %v meanwhile", rules[j.Rule].Name, j.Verdict.Action)
	}
	return append(lines, last)
}

func valueText(t *policy.Tried) string {
	switch {
	case t.Limited:
		return "matches, and its rate is used up"
	case t.Match == policy.Yes:
		return "matches"
	case t.Match == policy.Pending:
		return "may match, when the flow's name is known"
	}
	return "does not match"
}

// failedParts are the parts of a match that are no, or that are still to be known, with what the packet has there.
func failedParts(parts []policy.Part, match policy.Value) (list []string) {
	if match == policy.Yes {
		return nil
	}
	for i := range parts {
		p := &parts[i]
		if p.Match == policy.Yes {
			continue
		}
		text := p.Key
		switch {
		case p.Match == policy.Pending:
			text += " is not known yet"
		case p.Has != "":
			text += " is " + p.Has
		case len(p.Groups) > 0:
			text += " fails"
		default:
			text += " is not there"
		}
		var within []string
		for _, group := range p.Groups {
			within = append(within, failedParts(group, policy.No)...)
		}
		if len(within) > 0 {
			text += " (" + strings.Join(within, ", ") + ")"
		}
		list = append(list, text)
	}
	return list
}
