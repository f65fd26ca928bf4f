package config

import (
	"strings"
	"testing"
)

// What goes with marks and verdicts for flows is held together over sections.
func TestMarksProblems(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // parts of each problem
	}{
		"defaults":       {"policy: {rules: [{action: reject}, {action: accept, flow: true}], flow: true}", nil},
		"other bits":     {"rules: {mark_mask: 0x1f0, connmark_mask: \"0x1f\"}", nil},
		"no mask":        {"rules: {mark_mask: red}", []string{`f:1:20: rules.mark_mask: "red" is no mask`}},
		"holes":          {"rules: {mark_mask: 0xf0f}", []string{"f:1:20: rules.mark_mask: mask 0xf0f: use 5 to 16 bits in a row"}},
		"not as many":    {"rules: {connmark_mask: 0xff}\n", nil},
		"many":           {"rules: {connmark_mask: 0x1ff}\n", []string{"f:1:24: rules.connmark_mask: 0x1ff has another number of bits than rules.mark_mask, 0xff000000"}},
		"untracked":      {"rules: {placement: notrack}\npolicy: {rules: [{action: drop, flow: true}]}", []string{"f:2:39: policy.rules[0].flow: is true, and with rules.placement notrack"}},
		"untracked, all": {"rules: {placement: pre-conntrack}\npolicy: {flow: true}", []string{"f:2:16: policy.flow: is true, and with rules.placement pre-conntrack"}},
		"not installed":  {"rules: {install: false}\npolicy: {rules: [{action: reject, flow: true}]}", []string{"policy.rules[0].action: is reject", "policy.rules[0].flow: is true, which takes the daemon's own rules"}},
		"default, not installed": {"rules: {install: false}\npolicy: {default: reject, defaults: [{hook: input, action: reject}]}",
			[]string{"f:2:19: policy.default: is reject, which the daemon's own rules do, and rules.install is false", "f:2:60: policy.defaults[0].action: is reject"}},
		"no rules": {"rules: {placement: none}\npolicy: {default: reject, flow: true, rules: [{action: reject, flow: false}]}", []string{
			"f:2:19: policy.default: is reject, which the daemon's own rules do, and rules.placement is none",
			"f:2:33: policy.flow: is true, which takes the daemon's own rules, and rules.placement is none",
			"f:2:56: policy.rules[0].action: is reject, which the daemon's own rules do, and rules.placement is none"}},
		"bits of nobody's rules": {"rules: {install: false}\npolicy: {rules: [{action: repeat, set_mark: 1}]}", nil},
		"bits": {"policy: {rules: [{action: accept, flow: true, set_mark: 0x1000000/0x1000000, set_connmark: 0/0x80000000}]}",
			[]string{"policy.rules[0].set_mark: has bits of rules.mark_mask, 0xff000000", "policy.rules[0].set_connmark: has bits of rules.connmark_mask"}},
		"bits of nobody": {"policy: {rules: [{action: accept, set_mark: 0x1000000/0x1000000, set_connmark: 0/0x80000000}]}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(test.want) {
				t.Fatalf("%d problems, want %d: %v", len(got), len(test.want), err)
			}
			for i := range got {
				if !strings.Contains(got[i], test.want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], test.want[i])
				}
			}
		})
	}
}
