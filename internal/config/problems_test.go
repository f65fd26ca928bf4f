package config

import (
	"strings"
	"testing"
)

// problems are files and all that is reported of them, by what each line
// begins with.
var problems = []struct {
	name, text string
	want       []string
}{
	{
		"everything at once",
		`backend: fast
queue:
  count: 2
guard:
  mode: hodl
  mark: 3
  hold: 50
rules:
  placement: output
  placement: input
  protocols: [udp, sctpp]
policy:
  rules:
    - action: drop
      source: [192.0.2.1]
    - destination_ports: ["70-60"]
`,
		[]string{
			`f:1:10: backend: "fast" is not one of mmsg, gonfqueue: the nearest is`,
			`f:2:1: queue: no such key: the nearest is "queues", of backend, on_failure,`,
			`f:5:9: guard.mode: "hodl" is not one of auto, hold, drop, off: the nearest is "hold"`,
			`f:6:3: guard.mark: is gone: held packets are the originals and carry no mark; delete the line`,
			`f:7:9: guard.hold: "50" is no duration`,
			`f:10:3: rules.placement: written a second time: line 9 has it`,
			`f:11:20: rules.protocols[1]: "sctpp" is no protocol`,
			`f:15:16: policy.rules[0].source[0]: "192.0.2.1" is no prefix`,
			`f:16:7: policy.rules[1].action: is missing`,
			`f:16:27: policy.rules[1].destination_ports[0]: "70-60" begins above its end: write 60-70`,
		},
	},
	{"syntax", "queues:\n  count: [1\n", []string{"f:2:10: not YAML: "}},
	{"two documents", "backend: mmsg\n---\nbackend: mmsg\n", []string{"f:3:1: a second document"}},
	{"no section", "queues: 3\n", []string{"f:1:9: queues: must be a section of keys, not a number"}},
	{"no mapping at all", "- a\n", []string{"f:1:1: must be a section of keys, not a list"}},
	{"no list", "queues: {pin: 3}\n", []string{"f:1:15: queues.pin: must be a list like [a, b], not a number"}},
	{"list for a value", "queues: {count: [3]}\n", []string{"f:1:17: queues.count: must be a single value, not a list"}},
	{"no value", "queues:\n  count:\n", []string{"f:2:3: queues.count: has no value"}},
	{"anchor", "queues:\n  count: &a 3\n", []string{"f:2:10: queues.count: must be a single value, not YAML's anchor"}},
	{"merge key", "queues:\n  <<: {count: 3}\n", []string{`f:2:3: queues.<<: no such key`}},
	{"types", "queues: {count: x, fail_open: yes, first: -1, max_length: 4294967296}\nrules: {table: 5}\nanalysis: {sigma: \"1\"}\n", []string{
		`f:1:17: queues.count: must be a whole number, not "x"`,
		`f:1:31: queues.fail_open: must be true or false, not "yes"`,
		`f:1:43: queues.first: must be a whole number from 0 to 65535, not "-1"`,
		`f:1:59: queues.max_length: must be a whole number from 0 to 4294967295, not "4294967296"`,
		`f:2:16: rules.table: must be text, not a number: put it in quotes`,
		`f:3:19: analysis.sigma: must be a number, not "1"`,
	}},
	{"queue range", "queues: {first: 65535, count: 2}\n", []string{"f:1:31: queues.count: 2 queues from 65535 on end at 65536"}},
	{"receive buffer and log", "queues: {receive_buffer: 4096, receive_buffer_max: 4095}\nlog: {format: xml, level: loud, drops: 1001}\nmetrics: {web_config: /etc/verdictd/web.yaml}\n", []string{
		"f:2:15: log.format:", "f:2:27: log.level:", "f:2:40: log.drops: must be from 0 to 1000",
		"f:3:23: metrics.web_config: has no effect without metrics.listen",
	}},
	{"queue limits", "queues: {count: 0, copy_range: 65532, receive_buffer: -1, batch: 1025, pin: [0, -1, 1024]}\n", []string{
		"f:1:17: queues.count: must be from 1 to 65535, not 0",
		"f:1:32: queues.copy_range: must be from 0 to 65531",
		"f:1:55: queues.receive_buffer: must be from 0 to",
		"f:1:66: queues.batch: must be from 1 to 1024, not 1025",
		"f:1:81: queues.pin[1]: must be from 0 to 1023, not -1",
		"f:1:85: queues.pin[2]: must be from 0 to 1023, not 1024",
	}},
	{"copy range", "queues: {copy_range: all}\n", []string{`f:1:22: queues.copy_range: must be auto, or a whole number of bytes, not "all"`}},
	{"copy range by the policy", "queues: {copy_range: auto}\n", nil},
	{"truncation and segments are the gate's no more", "guard: {mode: hold}\nqueues: {copy_range: 256, gso: true, fail_open: true}\n", nil},
	{"last queue", "queues: {first: 65535}\n", nil},
	{"gone", "guard:\n  mode: reinject\n  dnat: off\n  grace: 50ms\n  idle: 5s\n  mark: 1\n  entry_queues: true\n", []string{
		"f:2:9: guard.mode: reinject is gone: further packets are no longer sent once more but held until their flow's first is confirmed: write hold",
		"f:3:3: guard.dnat: is gone: ",
		"f:4:3: guard.grace: is gone: ",
		"f:5:3: guard.idle: is gone: ",
		"f:6:3: guard.mark: is gone: ",
		"f:7:3: guard.entry_queues: is gone: ",
	}},
	{"gate queues", "guard: {first_queue: 65535, queues: 1}\n", []string{"f:1:22: guard.first_queue: the gate's 2 queues from 65535 on end at 65536"}},
	{"last gate queue", "guard: {first_queue: 65534}\n", nil},
	{"too many gate queues", "guard: {queues: 65}\n", []string{"f:1:17: guard.queues: must be from 0 to 64, not 65"}},
	{"gate queues by CPU", "guard: {first_queue: 65534}\nrules: {fanout: cpu}\nqueues: {count: 2}\n", []string{
		"f:1:22: guard.first_queue: the gate's 4 queues from 65534 on end at 65537, and the last that exists is 65535 (guard.queues 0 with rules.fanout cpu"}},
	{"gate by CPU over the queues", "queues: {first: 61442, count: 2}\nrules: {fanout: cpu}\n", []string{
		"f:1:1: guard.first_queue: the gate's queues 61440 to 61443 overlap those of queues.first and queues.count, 61442 to 61443 (guard.queues 0"}},
	{"a gate of one thread", "queues: {first: 61442, count: 2}\nrules: {fanout: cpu}\nguard: {queues: 1}\n", nil},
	{"gate over the queues", "guard: {first_queue: 3}\nqueues: {count: 4}\n", []string{"f:1:22: guard.first_queue: the gate's queues 3 to 4 overlap those of queues.first and queues.count, 0 to 3"}},
	{"queues over the gate", "queues: {count: 65000}\nrules: {fanout: balance}\n", []string{"f:1:1: guard.first_queue: the gate's queues 61440 to 61441 overlap"}},
	{"no gate, no overlap", "guard: {first_queue: 3, mode: off}\nqueues: {count: 4}\n", nil},
	{"guard bounds", "guard: {hold: 0s, hold_limit: 2h, flows: 0, flow_packets: 65536, bytes: 65534, settled_timeout: 10ms, settled_size: 1, exempt_ports: [0, 53, 53]}\n", []string{
		"f:1:15: guard.hold: must be from 1ms to 1h0m0s, not 0s",
		"f:1:31: guard.hold_limit: must be from 1ms to 1h0m0s, not 2h0m0s",
		"f:1:42: guard.flows: must be from 1 to",
		"f:1:59: guard.flow_packets: must be from 1 to 65535, not 65536",
		"f:1:73: guard.bytes: must be from 65535 to 1073741824, not 65534",
		"f:1:97: guard.settled_timeout: must be from 1s to 1h0m0s, not 10ms",
		"f:1:117: guard.settled_size: must be from 2 to",
		"f:1:135: guard.exempt_ports[0]: must be from 1 to 65535: take it out",
		"f:1:142: guard.exempt_ports[2]: 53 is in the list already",
	}},
	{"settled size beyond an int", "guard: {settled_size: 4294967295}\n", []string{"f:1:23: guard.settled_size: must be from 2 to"}},
	{"hold order", "guard: {hold: 1m}\n", []string{"f:1:1: guard.hold_limit: 30s is less than hold (1m0s)"}},
	{"undecodable", "policy: {undecodable: queue}\n", []string{"f:1:23: policy.undecodable: "}},
	{"metrics without a port", "metrics: {listen: localhost}\n", []string{`f:1:19: metrics.listen: "localhost" is no address and port`}},
	{"guard without a place", "guard: {mode: hold}\nrules: {install: false, placement: none}\n", nil},
	{"no rules and no guard", "guard: {mode: off}\nrules: {install: false, placement: none}\n", nil},
	{"own rules", "rules: {install: false, placement: verdict3}\n", nil},
	{"rules", "rules: {table: 7up, families: [ipv4, ipv4], protocols: [], fanout: port}\n", []string{
		`f:1:16: rules.table: "7up" is no table name`,
		`f:1:38: rules.families[1]: ipv4 is in the list already`,
		`f:1:45: rules.protocols: is empty`,
		`f:1:68: rules.fanout: "port" is not one of balance, cpu, ports, numgen: the nearest is "ports"`,
	}},
	{"ports", "rules: {protocols: [udp, icmp], destination_ports: [0, 53, 65536], source_ports: [53, 53]}\n", []string{
		"f:1:26: rules.protocols[1]: icmp has no ports, so that it would never be queued",
		"f:1:53: rules.destination_ports[0]: must be from 1 to 65535",
		"f:1:60: rules.destination_ports[2]: must be a whole number from 0 to 65535",
		"f:1:87: rules.source_ports[1]: 53 is in the list already",
	}},
	{"policy", "policy:\n  default: allow\n  rules:\n    - {name: a, action: drop, protocols: [icmp], source: [192.0.2.1/24], source_ports: [53, 70000]}\n    - x\n", []string{
		`f:2:12: policy.default: "allow" is no action: use accept, drop`,
		"f:4:43: policy.rules[0].protocols[0]: protocol 1 has no ports",
		"f:4:59: policy.rules[0].source[0]: 192.0.2.1/24 has bits set beyond its length: write 192.0.2.0/24",
		`f:4:93: policy.rules[0].source_ports[1]: "70000" is no port`,
		"f:5:7: policy.rules[1]: must be a section of keys, not text",
	}},
	{"policy's rules", "policy:\n  rules:\n    - {action: drop, source: [192.0.2.0/24], destination: [\"2001:db8::/32\"], destination_ports: [9-8]}\n", []string{
		"f:3:46: policy.rules[0].destination: one of source and destination is all IPv4",
		`f:3:98: policy.rules[0].destination_ports[0]: "9-8" begins above its end: write 8-9`,
	}},
	{"no action", "policy:\n  rules:\n    - name: a\n    -\n", []string{
		"f:3:7: policy.rules[0].action: is missing: write accept, drop, reject,",
		"f:4:7: policy.rules[1].action: is missing: write accept, drop, reject,",
	}},
	{"octal by accident", "queues: {count: 010}\n", []string{`f:1:17: queues.count: must be a whole number, not "010"`}},
	{"analysis", "analysis: {distribution: fixed, sigma: .nan, max: -1s}\n", []string{
		"f:1:1: analysis.delay: must be above 0",
		"f:1:40: analysis.sigma: must be a single value, not a number",
		"f:1:51: analysis.max: must be 0s (no limit) or above",
	}},
	{"cut analysis", "analysis: {distribution: lognormal, delay: 2ms, max: 1ms, sigma: 0}\n", []string{
		"f:1:54: analysis.max: 1ms is less than delay (2ms)",
		"f:1:66: analysis.sigma: must be above 0",
	}},
	{"delay without effect", "analysis: {delay: 2ms}\n", []string{"f:1:19: analysis.delay: 2ms has no effect with distribution none"}},
}

func TestProblems(t *testing.T) {
	for _, test := range problems {
		t.Run(test.name, func(t *testing.T) {
			c, err := Parse("f", []byte(test.text))
			if len(test.want) == 0 {
				if err != nil {
					t.Errorf("Parse: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("accepted as %+v", c)
			}
			if c != nil {
				t.Error("a configuration beside the error")
			}
			got := strings.Split(err.Error(), "\n")
			for i := range max(len(got), len(test.want)) {
				switch {
				case i >= len(got):
					t.Errorf("missing: %s", test.want[i])
				case i >= len(test.want):
					t.Errorf("unexpected: %s", got[i])
				case !strings.HasPrefix(got[i], test.want[i]):
					t.Errorf("got  %s\nwant %s", got[i], test.want[i])
				}
			}
		})
	}
}
