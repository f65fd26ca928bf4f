package advice

import (
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// maxCompared bounds how many pairs of rules are held against each other: some seconds.
const maxCompared = 20_000_000

// shadows finds rules of whose packets an earlier one decides about all.
func (o *of) shadows() {
	rules := o.Policy.Rules
	var decide []int // rules that decide whenever they match
	compared := 0
	for j := range rules {
		for _, i := range decide {
			if compared++; compared > maxCompared {
				o.say("policy.rules", "has too many rules to look for all that can never match: those behind number %d were not looked at", j)
				return
			}
			if covers(&rules[i].Match, &rules[j].Match) {
				o.say(ruleKey(j), "can never match: %s decides about all its packets before. Move it up, or take it out", o.rule(i))
				break
			}
		}
		if decides(&rules[j]) {
			decide = append(decide, j)
		}
	}
}

// decides reports whether a rule that matches always ends the search.
func decides(r *config.Rule) bool { return r.Action != vocabulary.Count && r.Limit == nil }
