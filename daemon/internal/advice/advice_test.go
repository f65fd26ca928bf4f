package advice

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
)

// given is the advice about a file, a line each.
func given(t *testing.T, path string) []string {
	t.Helper()
	f, err := config.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sets, problems := translate.Sets(&f.Policy, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var lines []string
	for _, w := range Of(f, sets) {
		lines = append(lines, strings.TrimPrefix(w.Error(), filepath.Dir(path)+"/"))
	}
	return lines
}

func put(t *testing.T, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("unexpected: %s", got[i])
		case !strings.Contains(got[i], want[i]):
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// TestShadows: two rules, and whether the second one can never match.
func TestShadows(t *testing.T) {
	const set = "  sets: [{name: s, type: names, entries: [example.com]}, {name: p, type: prefixes, entries: [192.0.2.0/24]}]\n"
	for name, test := range map[string]struct {
		first, second string
		shadowed      bool
	}{
		"everything":             {"action: accept", "action: drop, protocols: [udp]", true},
		"prefixes":               {"action: accept, source: [192.0.2.0/24, \"2001:db8::/32\"]", "action: drop, source: [192.0.2.128/25], destination_ports: [53]", true},
		"a wider prefix":         {"action: accept, source: [192.0.2.0/25]", "action: drop, source: [192.0.2.0/24]", false},
		"another list":           {"action: accept, source: [192.0.2.0/24]", "action: drop, destination: [192.0.2.0/24]", false},
		"families":               {"action: accept, source: [0.0.0.0/0]", "action: drop, source: [\"::/0\"]", false},
		"ports in two pieces":    {"action: accept, destination_ports: [1-10, 11-20]", "action: drop, destination_ports: [5-15]", true},
		"ports with a gap":       {"action: accept, destination_ports: [1-10, 12-20]", "action: drop, destination_ports: [5-15]", false},
		"limited":                {"action: accept, limit: {rate: 1/s}", "action: drop, protocols: [udp]", false},
		"counting":               {"action: count", "action: drop, protocols: [udp]", false},
		"one set":                {"action: accept, names: [\"@s\"]", "action: drop, names: [\"@s\"]", true},
		"a set and its entry":    {"action: accept, names: [\"@s\"]", "action: drop, names: [example.com]", false},
		"names below":            {"action: accept, names: [example.com]", "action: drop, tls: {names: [www.example.com]}", true},
		"not the name itself":    {"action: accept, names: [\"*.example.com\"]", "action: drop, names: [example.com]", false},
		"the name alone":         {"action: accept, names: [\"=example.com\"]", "action: drop, names: [\"=example.com\"]", true},
		"any TLS":                {"action: accept, tls: {}", "action: drop, tls: {names: [example.com]}", true},
		"another protocol":       {"action: accept, quic: {}", "action: drop, tls: {}", false},
		"types":                  {"action: accept, dns: {types: [A, AAAA]}", "action: drop, dns: {types: [A]}", true},
		"marks":                  {"action: accept, mark: [\"0x1/0x1\"]", "action: drop, mark: [\"0x3/0xff\"]", true},
		"marks of other bits":    {"action: accept, mark: [\"0x3/0xff\"]", "action: drop, mark: [\"0x1/0x1\"]", false},
		"interfaces":             {"action: accept, interface_in: [\"wg*\"], hooks: [input]", "action: drop, interface_in: [wg0], hooks: [input]", true},
		"equal not":              {"action: accept, not: {ttl: [1]}", "action: drop, not: {ttl: [1]}, protocols: [udp]", true},
		"a not of its own":       {"action: accept, not: {ttl: [1]}", "action: drop, protocols: [udp]", false},
		"one of any":             {"action: accept, any: [{ttl: [1-9]}, {protocols: [tcp]}]", "action: drop, ttl: [3]", true},
		"none of any":            {"action: accept, any: [{ttl: [1-9]}, {protocols: [tcp]}]", "action: drop, ttl: [3-30]", false},
		"part of all":            {"action: accept, ttl: [1-9]", "action: drop, all: [{ttl: [3]}, {protocols: [udp]}]", true},
		"all of the first":       {"action: accept, all: [{ttl: [1-9]}, {protocols: [tcp]}]", "action: drop, ttl: [3]", false},
		"expressions":            {"action: accept, protocols: [udp], regexp: a", "action: drop, protocols: [udp], regexp: ab", false},
		"later ones of one time": {"action: accept, time: {days: [mon]}", "action: drop, protocols: [udp]", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, t.TempDir(), "v.yaml", "rules: {protocols: [udp, tcp], placement: none}\npolicy:\n"+set+"  rules:\n    - {name: one, "+test.first+"}\n    - {name: two, "+test.second+"}\n")
			shadowed := false
			for _, line := range given(t, path) {
				shadowed = shadowed || strings.HasPrefix(line, "v.yaml:6:7: policy.rules[1]: can never match: rule one (")
			}
			if shadowed != test.shadowed {
				t.Errorf("shadowed: %v, want %v", shadowed, test.shadowed)
			}
		})
	}
}

func TestAdvice(t *testing.T) {
	d := t.TempDir()
	put(t, d, "a.txt", "one.example.net\nexample.org\n192.example.ogr\nco.uk\n")
	put(t, d, "more.yaml", "rules:\n  - {name: again, action: drop, source: [192.0.2.7/32]}\n")
	path := put(t, d, "v.yaml", `policy:
  include: [more.yaml, "none-*.yaml"]
  sets:
    - {name: a, type: names, file: a.txt}
    - {name: b, type: names, entries: [example.net, www.example.org, =org]}
    - {name: c, type: ports, entries: [53]}
    - {name: p, type: prefixes, entries: [192.0.2.0/24]}
    - {name: q, type: prefixes, entries: [192.0.2.9, 198.51.100.0/24]}
  rules:
    - {name: odd, action: drop, names: [exmaple.cmo, com, printer.lan, example.org, www.example.org, "@a"]}
    - {name: sets, action: drop, names: ["@b"], source: ["@p"], destination: ["@q"]}
    - {name: costs, action: drop, regexp: x, not: {regexp: y, ttl: [1]}}
    - {name: empty, action: accept, source: [192.0.2.7/32], destination: []}
    - {name: unseen, action: drop, hooks: [input], http: {}, family: [ipv4]}
`)
	compare(t, given(t, path), []string{
		`v.yaml:2:24: policy.include[1]: there is no file`,
		`v.yaml:4:7: policy.sets[0]: "192.example.ogr" ends in ogr, which is no top-level domain`,
		`v.yaml:4:7: policy.sets[0]: "co.uk" covers every name below co.uk, which are many owners': write =co.uk`,
		`v.yaml:4:7: policy.sets[0]: has 1 entries that set b covers, such as "one.example.net"`,
		`v.yaml:6:7: policy.sets[2]: no rule names set c`,
		`v.yaml:8:7: policy.sets[4]: has 1 entries that set p covers, such as "192.0.2.9"`,
		`v.yaml:10:41: policy.rules[0].names[0]: "exmaple.cmo" ends in cmo`,
		`v.yaml:10:54: policy.rules[0].names[1]: "com" covers every name below com`,
		`v.yaml:10:85: policy.rules[0].names[4]: is covered by "example.org" of the same list`,
		`v.yaml:12:43: policy.rules[2].regexp: is tried on every packet`,
		`v.yaml:13:61: policy.rules[3].destination: is empty, which matches every packet`,
		`v.yaml:14:36: policy.rules[4].hooks: rules.placement output queues packets at output alone`,
		`v.yaml:14:52: policy.rules[4].http: rules.protocols has none of tcp`,
		`more.yaml:2:5: rules[0]: can never match: rule empty (` + path + `:13) decides`,
	})
}

// TestBeforeConntrack: where no gate stands, a flow's packets have to stay in one queue.
func TestBeforeConntrack(t *testing.T) {
	for settings, warned := range map[string]bool{
		"rules: {placement: pre-conntrack, fanout: cpu}\nqueues: {count: 2}\n":     true,
		"rules: {placement: pre-conntrack, fanout: numgen}\nqueues: {count: 2}\n":  true,
		"rules: {placement: pre-conntrack, fanout: cpu}\n":                         false,
		"rules: {placement: pre-conntrack, fanout: ports}\nqueues: {count: 2}\n":   false,
		"rules: {placement: pre-conntrack, fanout: balance}\nqueues: {count: 2}\n": false,
		"rules: {placement: output, fanout: cpu}\nqueues: {count: 2}\n":            false,
	} {
		got := given(t, put(t, t.TempDir(), "v.yaml", settings))
		if found := len(got) == 1 && strings.Contains(got[0], "rules.fanout: ") && strings.Contains(got[0], "write balance or ports"); found != warned {
			t.Errorf("%q: %q", settings, got)
		}
	}
}

// TestShippedFileNeedsNoAdvice: what an operator begins with has nothing to be warned of.
func TestShippedFileNeedsNoAdvice(t *testing.T) {
	compare(t, given(t, "../../../configs/verdictd.yaml"), nil)
}

// TestManyRules: to hold all against each other takes no minutes.
func TestManyRules(t *testing.T) {
	text := strings.Builder{}
	text.WriteString("policy:\n  rules:\n")
	for i := range 4000 {
		fmt.Fprintf(&text, "    - {action: drop, source: [10.%d.%d.0/24], destination_ports: [53]}\n", i/256, i%256)
	}
	began := time.Now()
	compare(t, given(t, put(t, t.TempDir(), "v.yaml", text.String())), nil)
	if d := time.Since(began); d > time.Minute {
		t.Errorf("took %v", d)
	}
}
