package advice

import (
	"reflect"

	"verdictd/internal/config"
)

// costs finds expressions that are tried on every packet that comes to their rule.
func (o *of) costs() {
	for i := range o.Policy.Rules {
		o.costOf(ruleKey(i), &o.Policy.Rules[i].Match, false)
	}
}

func (o *of) costOf(key string, m *config.Match, narrow bool) {
	rest := *m
	rest.Regexp, rest.Not, rest.Any, rest.All = "", nil, nil, nil
	narrow = narrow || !reflect.ValueOf(rest).IsZero()
	if m.Regexp != "" && !narrow {
		o.say(key+".regexp", "is tried on every packet that comes to this rule, which takes time for each byte: name protocols, ports or the like beside it")
	}
	for field, inner := range m.Inner() {
		o.costOf(key+"."+field, inner, narrow)
	}
}
