package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rule is a configuration with one rule, written as a flow mapping on line 3 whose first key is at column 8.
func rule(keys string) string { return "policy:\n  rules:\n    - {" + keys + "}\n" }

// compareProblems holds the problems of an error against what each of them begins with.
func compareProblems(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		if len(want) > 0 {
			t.Errorf("no problem, want\n%s", strings.Join(want, "\n"))
		}
		return
	}
	got := strings.Split(err.Error(), "\n")
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("unexpected: %s", got[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// languageProblems are rules, and what is reported of each behind "f:3:", from the column on.
var languageProblems = []struct {
	name, keys string
	want       []string
}{
	{"every kind of match", `action: accept, family: [ipv4], protocols: [tcp], source: [192.0.2.0/24], interface_in: [eth0, "wg*"], ` +
		`hooks: [input], mark: ["0x1/0xff", 7], connmark: [0x10], length: ["64-1500", 40], ttl: ["1-5"], dscp: [ef, af41, CS1, "46"], ` +
		`fragment: [whole, first], conntrack: [new, dnat], time: {days: [mon], from: "22:00", to: "06:00", zone: UTC}, ` +
		`tls: {names: [example.org, "*.example.net", "=example.com"], alpn: [h2]}, name_state: [known], ` +
		`payload: [{offset: 3, bytes: "0a 0b", mask: ff:0f}], regexp: "^GET ", not: {uid: [0, "1000-1999"]}, any: [{gid: [5]}, {not: {ttl: [1]}}], ` +
		`all: [{length: [1]}]`, nil},
	{"every kind of act", `action: requeue, queue: 7, set_mark: "0x1/0xff", set_connmark: 0x3, log: 1, flow: false, ` +
		`limit: {rate: 10/m, burst: 5, per: source, ipv4: 24, ipv6: 48, entries: 9}`, nil},
	{"a limit of the rule", "action: accept, limit: {rate: 5/s}", nil},
	{"any DNS", "action: drop, dns: {}", nil},
	{"DNS types", `action: drop, dns: {types: [A, aaaa, "65", TYPE64, 257]}`, nil},
	{"DNS without braces", "action: drop, dns: ", []string{"22: policy.rules[0].dns: has no value: write {} if it is to be empty"}},
	{"unknown keys", "action: drop, tls: {sni: [a.org]}, prot: [tcp], not: {naems: [b.org]}", []string{
		`28: policy.rules[0].tls.sni: no such key: the nearest is "alpn", of names, alpn`,
		`43: policy.rules[0].prot: no such key: the nearest is`,
		`62: policy.rules[0].not.naems: no such key: the nearest is "names"`,
	}},
	{"words", "action: refuse, hooks: [ouput], fragment: [frist], conntrack: [NEW], name_state: [toolong], pending: holdd", []string{
		`16: policy.rules[0].action: "refuse" is no action`,
		`32: policy.rules[0].hooks[0]: "ouput" is not one of prerouting, input, forward, output, postrouting: the nearest is "output"`,
		`51: policy.rules[0].fragment[0]: "frist" is not one of whole, first, later: the nearest is "first"`,
		`71: policy.rules[0].conntrack[0]: "NEW" is not one of new, established,`,
		`90: policy.rules[0].name_state[0]: "toolong" is not one of none, hidden, too-long, known: the nearest is "too-long"`,
		`109: policy.rules[0].pending: "holdd" is not one of accept, hold: the nearest is "hold"`,
	}},
	{"names that are something else", `action: drop, names: [.example.org, "https://example.org/x", 192.0.2.1, "example.org:443", "*", a b, "@", "@a b", ""]`, []string{
		`30: policy.rules[0].names[0]: ".example.org" has a leading dot: write example.org,`,
		`44: policy.rules[0].names[1]: "https://example.org/x" is a URL: write its host, example.org`,
		`69: policy.rules[0].names[2]: "192.0.2.1" is an address`,
		`80: policy.rules[0].names[3]: "example.org:443" has a port: write example.org`,
		`99: policy.rules[0].names[4]: "*" has a * that does not stand for whole labels`,
		`104: policy.rules[0].names[5]: "a b" has a space`,
		`109: policy.rules[0].names[6]: "" is no name of a set`,
		`114: policy.rules[0].names[7]: "a b" is no name of a set`,
		`122: policy.rules[0].names[8]: "" is no name`,
	}},
	{"addresses", `action: drop, source: ["::ffff:192.0.2.0/120", "fe80::1%eth0/64"], source_pairs: ["192.0.2.1", "192.0.2.1:99999", "[::1]:53", "::1:53"]`, []string{
		`31: policy.rules[0].source[0]: "::ffff:192.0.2.0/120" is an IPv4 address inside of IPv6`,
		`55: policy.rules[0].source[1]: "fe80::1%eth0/64" is no prefix`,
		`90: policy.rules[0].source_pairs[0]: "192.0.2.1" is no address with a port`,
		`103: policy.rules[0].source_pairs[1]: "192.0.2.1:99999" is no address with a port`,
		`134: policy.rules[0].source_pairs[3]: "::1:53" is no address with a port`,
	}},
	{"marks", `action: drop, mark: ["0x1ff/0xff", 0x100000000, 010, "1/0", one, -1], connmark: [1/2/3]`, []string{
		`29: policy.rules[0].mark[0]: "0x1ff/0xff" has bits that the mask 0xff has not: write 0xff/0xff or 0x1ff/0x1ff`,
		`43: policy.rules[0].mark[1]: "0x100000000" is no mark`,
		`56: policy.rules[0].mark[2]: "010" is no mark`,
		`61: policy.rules[0].mark[3]: "1/0" has bits that the mask 0x0 has not`,
		`68: policy.rules[0].mark[4]: "one" is no mark`,
		`73: policy.rules[0].mark[5]: "-1" is no mark`,
		`89: policy.rules[0].connmark[0]: "1/2/3" is no mark`,
	}},
	{"numbers", `action: drop, length: [65536, "9-1", -5], ttl: [256], dscp: [64, af44], uid: [4294967295]`, []string{
		`31: policy.rules[0].length[0]: must be from 0 to 65535, not 65536`,
		`38: policy.rules[0].length[1]: 9-1 begins above its end: write 1-9`,
		`45: policy.rules[0].length[2]: "-5" is no number`,
		`56: policy.rules[0].ttl[0]: must be from 0 to 255, not 256`,
		`69: policy.rules[0].dscp[0]: "64" is no code point`,
		`73: policy.rules[0].dscp[1]: "af44" is no code point`,
		`86: policy.rules[0].uid[0]: must be from 0 to 4294967294, not 4294967295`,
	}},
	{"interfaces", `action: drop, interface_in: [a234567890123456, "w*g", "a/b", "*"], interface_out: [""]`, []string{
		`37: policy.rules[0].interface_in[0]: "a234567890123456" has more than the 15 bytes`,
		`55: policy.rules[0].interface_in[1]: "w*g" has a * that is not at its end`,
		`62: policy.rules[0].interface_in[2]: "a/b" cannot be a device's name`,
		`91: policy.rules[0].interface_out[0]: is empty`,
	}},
	{"interfaces that no packet has", "action: drop, hooks: [output], interface_in: [eth0]", []string{
		`39: policy.rules[0].interface_in: packets have no such interface in output`,
	}},
	{"times", `action: drop, time: {days: [monday], from: "8:00", to: "24:01", zone: Mars/Olympus}, any: [{time: {from: "08:00"}}, {time: {}}, {time: {from: "01:00", to: "01:00"}}]`, []string{
		`36: policy.rules[0].time.days[0]: "monday" is not one of sun, mon,`,
		`51: policy.rules[0].time.from: "8:00" is no time of the day`,
		`63: policy.rules[0].time.to: "24:01" is no time of the day`,
		`78: policy.rules[0].time.zone: "Mars/Olympus" is no time zone`,
		`100: policy.rules[0].any[0].time: has one of from and to: write both`,
		`125: policy.rules[0].any[1].time: is empty`,
		`163: policy.rules[0].any[2].time.to: is the same as from`,
	}},
	{"empty lists", "action: drop, source: [], hooks: [], tls: {names: [], alpn: [\"\"]}, any: [], not: {}, all: [{}, {uid: []}]", []string{
		`34: policy.rules[0].hooks: is empty, and so would match nothing`,
		`51: policy.rules[0].tls.names: is empty, and so`,
		`69: policy.rules[0].tls.alpn[0]: must have from 1 to 255 bytes, not 0`,
		`75: policy.rules[0].any: is empty, and so`,
		`84: policy.rules[0].not: is empty, which matches every packet, so that the rule never matches`,
		`99: policy.rules[0].all[0]: is empty, which matches every packet, so that it says nothing`,
		`104: policy.rules[0].all[1].uid: is empty`,
	}},
	{"contradictions", "action: drop, family: [ipv6], source: [192.0.2.0/24], protocols: [icmp, udp], tls: {}, quic: {}, fragment: [later], destination_ports: [53]", []string{
		`38: policy.rules[0].source: has nothing of family ipv6`,
		`74: policy.rules[0].protocols[0]: protocol 1 has no ports, so it can never match destination_ports`,
		`80: policy.rules[0].protocols[1]: protocol 17 carries no TLS, so it can never match tls`,
		`95: policy.rules[0].quic: no packet is of tls and of quic: write any: [{tls: ...}, {quic: ...}]`,
		`105: policy.rules[0].fragment: later fragments have no ports`,
	}},
	{"payloads", `action: drop, payload: [{offset: -1, bytes: "0a"}, {offset: 1}, {bytes: "0a0", offset: 65535}, {bytes: ff, mask: 0f0f}, {bytes: ff, mask: "0f"}]`, []string{
		`41: policy.rules[0].payload[0].offset: must be from 0 to 65535, not -1`,
		`59: policy.rules[0].payload[1].bytes: is missing`,
		`80: policy.rules[0].payload[2].bytes: "0a0" is no bytes`,
		`121: policy.rules[0].payload[3].mask: has 2 bytes, and bytes has 1`,
		`136: policy.rules[0].payload[4].bytes: has bits that mask has not, which no packet matches: write 0f`,
	}},
	{"patterns", `action: drop, regexp: "(", any: [{regexp: "((a{100}){100}){100}"}, {regexp: ""}, {regexp: "(?=a)"}, {regexp: "a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}"}, {regexp: 5}]`, []string{
		`30: policy.rules[0].regexp: "(" is no regular expression of RE2`,
		`50: policy.rules[0].any[0].regexp: "((a{100}){100}){100}" is no`,
		`84: policy.rules[0].any[1].regexp: must have from 1 to 1024 bytes, not 0`,
		`98: policy.rules[0].any[2].regexp: "(?=a)" is no regular expression`,
		`117: policy.rules[0].any[3].regexp: "a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}a{999}" is too much for each packet: it is as long as`,
		`197: policy.rules[0].any[4].regexp: must be text, not a number`,
	}},
	{"queues", "action: requeue", []string{`7: policy.rules[0].queue: is missing: name the queue`}},
	{"queue of one's own", "action: requeue, queue: 0", []string{`32: policy.rules[0].queue: 0 is one of the daemon's own`}},
	{"queue of the gate", "action: requeue, queue: 61441", []string{`32: policy.rules[0].queue: 61441 is one of the gate's`}},
	{"queue for nothing", "action: drop, queue: 3, set_mark: 1", []string{
		`29: policy.rules[0].queue: has no effect with action drop`, `42: policy.rules[0].set_mark: has no effect with action drop`,
	}},
	{"flows that cannot be", "action: repeat, flow: true, pending: hold", []string{
		`30: policy.rules[0].flow: true does not go with repeat`, `45: policy.rules[0].pending: has no effect`,
	}},
	{"limits", "action: accept, limit: {rate: 0/s, burst: -1, per: entry, ipv4: 33, ipv6: 0, entries: 0}", []string{
		`38: policy.rules[0].limit.rate: "0/s" is no rate`,
		`50: policy.rules[0].limit.burst: must be from 0 to 100000000, not -1`,
		`59: policy.rules[0].limit.per: entry is one of a set, and the rule names none`,
		`72: policy.rules[0].limit.ipv4: must be from 1 to 32, not 33`,
		`82: policy.rules[0].limit.ipv6: must be from 1 to 128, not 0`,
		`94: policy.rules[0].limit.entries: must be from 1 to 4194304, not 0`,
	}},
	{"limits without effect", "action: accept, limit: {ipv4: 24, entries: 7}", []string{
		`24: policy.rules[0].limit.rate: is missing`,
		`38: policy.rules[0].limit.ipv4: has no effect with per: rule`,
		`51: policy.rules[0].limit.entries: has no effect with per: rule`,
	}},
	{"rates", `action: accept, any: [{}], limit: {rate: 1/d}`, []string{
		`30: policy.rules[0].any[0]: is empty`, `49: policy.rules[0].limit.rate: "1/d" is no rate`,
	}},
	{"logs and samples", "action: count, log: 1001, sample: 5", []string{
		`28: policy.rules[0].log: must be from 0 to 1000`, `42: policy.rules[0].sample: has no effect without policy.samples.directory`,
	}},
	{"sets that are not", `action: drop, source: ["@block"], names: ["@b"]`, []string{
		`31: policy.rules[0].source[0]: there is no set block: declare it`, `50: policy.rules[0].names[0]: there is no set b`,
	}},
}

func TestLanguageProblems(t *testing.T) {
	for _, test := range languageProblems {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(rule(test.keys)))
			var want []string
			for _, w := range test.want {
				want = append(want, "f:3:"+w)
			}
			compareProblems(t, err, want)
		})
	}
}

func TestProblemsOfThePolicy(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"actions": {"policy: {default: count, undecodable: reject, defaults: [{hook: input, action: drop}, {hook: input, action: repeat}, {}]}\n", []string{
			"f:1:19: policy.default: must be one of accept, drop, reject, not count",
			"f:1:39: policy.undecodable: must be one of accept, drop, not reject",
			"f:1:94: policy.defaults[1].hook: input has a default already",
			"f:1:109: policy.defaults[1].action: must be one of accept, drop, reject, not repeat",
			"f:1:118: policy.defaults[2].hook: is missing: write one of prerouting,",
			"f:1:118: policy.defaults[2].action: is missing",
		}},
		"bounds": {"policy: {regexp_bytes: 0, names: {dns_ports: [0, 53, 53], flows: 0, buffers: 1048576, bytes: 1048576, packets: 65, time: 0s, quic_keys: 0}}\n", []string{
			"f:1:24: policy.regexp_bytes: must be from 1 to 65535, not 0",
			"f:1:47: policy.names.dns_ports[0]: must be from 1 to 65535",
			"f:1:54: policy.names.dns_ports[2]: 53 is in the list already",
			"f:1:66: policy.names.flows: must be from 1 to 4194304, not 0",
			"f:1:78: policy.names.buffers: 1048576 buffers of 1048576 bytes are",
			"f:1:112: policy.names.packets: must be from 1 to 64, not 65",
			"f:1:122: policy.names.time: must be from 1ms to 1m0s, not 0s",
			"f:1:137: policy.names.quic_keys: must be from 1 to 1000000, not 0",
		}},
		"samples": {"policy: {samples: {directory: x, bytes: 1, files: 0}}\n", []string{
			`f:1:31: policy.samples.directory: "x" is no absolute path`,
			"f:1:41: policy.samples.bytes: must be from 65536 to 1073741824, not 1",
			"f:1:51: policy.samples.files: must be from 1 to 1000, not 0",
		}},
		"sets": {"policy:\n  sets:\n    - {name: a, type: prefixes, entries: [192.0.2.1, 192.0.2.1/24, a.org]}\n    - {name: a, type: port, entries: []}\n    - {type: ports, entries: [53, 9-8]}\n    - {name: \"-b\", entries: [x]}\n    - {name: c, type: names}\n    - {name: d, type: pairs, entries: []}\n  rules:\n    - {action: drop, names: [\"@a\"], source: [\"@A\"], source_pairs: [\"@d\"]}\n", []string{
			`f:3:54: policy.sets[0].entries[1]: "192.0.2.1/24" has bits set beyond its length`,
			`f:3:68: policy.sets[0].entries[2]: "a.org" is no prefix`,
			`f:4:14: policy.sets[1].name: a is the name of another set`,
			`f:4:23: policy.sets[1].type: "port" is not one of prefixes, ports, names, pairs: the nearest is "ports"`,
			`f:5:7: policy.sets[2].name: is missing`,
			`f:5:35: policy.sets[2].entries[1]: "9-8" begins above its end: write 8-9`,
			`f:6:7: policy.sets[3].type: is missing`,
			`f:6:14: policy.sets[3].name: "-b" is no name of a set`,
			`f:7:7: policy.sets[4]: has neither entries nor a file`,
			`f:10:30: policy.rules[0].names[0]: set a has prefixes, and here are names`,
			`f:10:46: policy.rules[0].source[0]: there is no set A: the nearest is a`,
		}},
		"include in a text": {"policy: {include: [a]}\n", []string{"f:1:10: policy.include: stands in a text that is no file"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			compareProblems(t, err, test.want)
		})
	}
}

// TestMatchesAreNotDeep: a program that goes into itself for each of them has an end of its stack, too.
func TestMatchesAreNotDeep(t *testing.T) {
	nested := func(n int) string {
		text := "policy:\n  rules:\n    - action: drop\n"
		for i := range n {
			text += strings.Repeat(" ", 6+i) + "not:\n"
		}
		return text + strings.Repeat(" ", 6+n) + "ttl: [1]\n"
	}
	if _, err := Parse("f", []byte(nested(maxNesting))); err != nil {
		t.Error(err)
	}
	for _, n := range []int{maxNesting + 1, 1300} {
		began := time.Now()
		_, err := Parse("f", []byte(nested(n)))
		compareProblems(t, err, []string{fmt.Sprintf("f:%d:%d: policy.rules[0]%s: is more than %d deep", 3+maxNesting+1, 6+maxNesting+1, strings.Repeat(".not", maxNesting+1), maxNesting)})
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%d deep took %v", n, d)
		}
	}
}

// TestRoundTripOfTheLanguage: what is written has each key, and is read as it was.
func TestRoundTripOfTheLanguage(t *testing.T) {
	for _, test := range languageProblems {
		if test.want != nil {
			continue
		}
		first, err := Parse("f", []byte(rule(test.keys)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := first.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(first, again, comparePrefixes, comparePairs); diff != "" {
			t.Errorf("differs:\n%s\n%s", diff, text)
		}
	}
}

// put makes a file with its folders, and returns its path.
func put(t *testing.T, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fieldless tells that no key of a match has been forgotten by IsZero and the like: all are values, lists or pointers.
func TestMatchIsMadeOfWhatIsZero(t *testing.T) {
	for field := range reflect.TypeFor[Match]().Fields() {
		switch field.Type.Kind() {
		case reflect.Slice, reflect.Pointer, reflect.String:
		default:
			t.Errorf("%s is a %s: one cannot tell whether it is written", field.Name, field.Type.Kind())
		}
	}
}
