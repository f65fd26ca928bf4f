package translate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSetsStay: what is declared as before is the same set, with what was counted of it.
func TestSetsStay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte("example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sets := func(more string) *config.Policy {
		return &parse(t, "policy:\n  sets:\n    - {name: a, type: names, file: "+file+"}\n    - {name: b, type: ports, entries: [\"53\""+more+"]}\n").Policy
	}
	first, problems := Sets(sets(""), nil)
	if len(problems) > 0 || len(first) != 2 {
		t.Fatalf("%v, %v", first, problems)
	}
	second, problems := Sets(sets(`, "80"`), first)
	if len(problems) > 0 || second[0] != first[0] || second[1] == first[1] || !second[1].Ports.Load().Contains(80) {
		t.Errorf("%v, %v", second, problems)
	}
}

// TestProblemsOfFiles name the line, and all of them come at once.
func TestProblemsOfFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte("example.org\n.dotted\nhttp://example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems := Sets(&parse(t, "policy: {sets: [{name: a, type: names, file: "+file+"}, {name: b, type: names, file: "+file+".none}]}").Policy, nil)
	text := problems.Error()
	for _, part := range []string{"policy.sets[0].file: " + file + ":2: ", file + ":3: ", "policy.sets[1].file: open " + file + ".none"} {
		if len(problems) != 3 || !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

// TestRules: what an operator writes is what the policy is compiled from.
func TestRules(t *testing.T) {
	p := &parse(t, `
policy:
  flow: true
  names: {dns_ports: [53, 5353], time: 1s}
  rules:
    - {name: one, dns: {names: [example.org]}, action: drop, pending: hold, log: 3}
    - {name: two, action: requeue, queue: 7, set_mark: "0x1/0xff"}
    - {name: three, conntrack: [new, reply], action: count, flow: false}
`).Policy
	c, err := Policy(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := c.Rule(0), c.Rule(1), c.Rule(2)
	if !one.Flow || !one.Hold || one.Log != 3 || one.Match.DNS.Names.List[0] != "example.org" {
		t.Errorf("%+v", one)
	}
	if two.Flow || two.Queue != 7 || two.Mark.Mask != 0xff || two.Action != vocabulary.Requeue {
		t.Errorf("a verdict for each packet: %+v", two)
	}
	if needs := c.Needs(); three.Flow || !needs.Names || !needs.Conntrack || !needs.Logs {
		t.Errorf("%+v, needs %+v", three, needs)
	}
	if f := Flows(&p.Names); len(f.DNSPorts) != 2 || f.Pending.Age != 1e9 || f.Pending.Bytes != 16<<10 || !Holds(p) {
		t.Errorf("%+v", f)
	}
	p.Rules[0].Source = []config.Prefix{{Set: "none"}}
	var problems Problems
	if _, err := Policy(p, nil, nil); !errors.As(err, &problems) || problems[0].Key != "policy.rules[0].source" {
		t.Errorf("%v; want that there is no such set", err)
	}
}

// TestContradictions: what no kernel can do with the rules that there are.
func TestContradictions(t *testing.T) {
	const names, holds = "policy: {rules: [{action: drop, tls: {}}]}\n", "policy: {rules: [{action: drop, tls: {}, pending: hold}]}\n"
	const cpu = "queues: {count: 2}\nrules: {fanout: cpu}\n"
	for text, want := range map[string]string{
		"backend: gonfqueue\n" + names: "",
		"backend: gonfqueue\n" + holds: "backend: is gonfqueue, which cannot hold packets (pending: hold): set it to mmsg",
		cpu:                            "",
		cpu + names: "rules.fanout: is cpu, with which a flow's packets reach several queues, and rules look for names, " +
			"which takes all of a flow: set it to balance",
		"queues: {count: 2}\nrules: {fanout: cpu, install: false}\n" + names: "",
	} {
		c := parse(t, text)
		rules, err := Policy(&c.Policy, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		problems := Contradictions(c, rules.Needs())
		if len(problems) > 0 {
			got = problems.Error()
		}
		if got != want || problems.OfFile() != (want != "") {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestCopied: auto is what the policy looks at, and a number has to be enough for that.
func TestCopied(t *testing.T) {
	const names, expression = "policy: {rules: [{action: drop, tls: {}}]}\n", "policy: {regexp_bytes: 101, rules: [{action: drop, regexp: a}]}\n"
	for text, want := range map[string]string{
		"":                                    "512 true",
		names:                                 "65531 true",
		expression:                            "613 true",
		"backend: gonfqueue\n":                "65531 true",
		"queues: {copy_range: 0}\n":           "65531 false",
		"queues: {copy_range: 1}\n":           "1 false",
		"queues: {copy_range: 0}\n" + names:   "65531 false",
		"queues: {copy_range: 128}\n" + names: "queues.copy_range: cuts packets, in which rules of the policy look for names: set it to auto, or to 0",
		"queues: {copy_range: 265}\n" + expression: "265 false",
		"queues: {copy_range: 264}\n" + expression: "queues.copy_range: cuts packets after 264 bytes, and rules of the policy look at byte 101 behind the headers: " +
			"set it to auto, to 0, or to 265 at least",
	} {
		c := parse(t, text)
		rules, err := Policy(&c.Policy, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		copied, problems := CopiedBy(c, rules.Needs())
		got := fmt.Sprint(copied.Bytes, " ", copied.Auto)
		if len(problems) > 0 {
			got = problems.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
