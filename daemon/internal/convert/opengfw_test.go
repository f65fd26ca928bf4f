package convert

import (
	"fmt"
	"strings"
	"testing"

	"verdictd/daemon/internal/replay"
	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// decision holds the policy against a described packet, and says which rule decides and how.
func decision(t *testing.T, text []byte, d replay.Description) string {
	t.Helper()
	cfg, err := config.Parse("converted", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d.Judgement, err = service.Judgement(cfg); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	d.Hook, d.Type = vocabulary.HookOutput, "A"
	lines, err := replay.Describe(&d)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "no rule matches: "); ok {
			return rest
		}
		if strings.Contains(line, " decides: ") || strings.Contains(line, " waits for ") {
			return line
		}
	}
	return strings.Join(lines, "\n")
}

const (
	web = "tcp 192.0.2.1:5000 > 198.51.100.1:443"
	dns = "udp 192.0.2.1:5000 > 198.51.100.1:53"
)

// TestOpenGFW: what is converted decides as OpenGFW does.
func TestOpenGFW(t *testing.T) {
	for _, test := range []struct {
		name, action, expr string
		matches, other     []replay.Description
	}{
		{"suffix", "block", `string(tls?.req?.sni) endsWith ".example.org"`,
			[]replay.Description{{Flow: web, SNI: "a.example.org"}},
			[]replay.Description{{Flow: web, SNI: "example.org"}, {Flow: web, SNI: "aexample.org"}, {Flow: dns, DNS: "a.example.org"}}},
		{"list", "allow", `lower(string(tls?.req?.sni)) in ["example.org", "example.com"] && port.dst == 443`,
			[]replay.Description{{Flow: web, SNI: "example.com"}, {Flow: web, SNI: "EXAMPLE.org"}},
			[]replay.Description{{Flow: web, SNI: "a.example.com"}, {Flow: strings.Replace(web, "443", "444", 1), SNI: "example.com"}}},
		{"or of names", "block", `tls?.req?.sni == "example.org" || tls?.req?.sni == "example.com" || http?.req?.headers?.host == "example.net"`,
			[]replay.Description{{Flow: web, SNI: "example.com"}, {Flow: web, SNI: "example.org"}, {Flow: web, Host: "example.net"}},
			[]replay.Description{{Flow: web, SNI: "example.net"}}},
		{"cidr", "block", `cidr(string(ip.dst), "198.51.100.0/24") && !(port.dst in 1..442)`,
			[]replay.Description{{Flow: web}},
			[]replay.Description{{Flow: dns}, {Flow: "tcp 198.51.100.1:443 > 192.0.2.1:443"}}},
		{"proto", "drop", `proto == "udp" && port.dst >= 1024`,
			[]replay.Description{{Flow: "udp 192.0.2.1:5000 > 198.51.100.1:1024"}},
			[]replay.Description{{Flow: dns}, {Flow: "tcp 192.0.2.1:5000 > 198.51.100.1:1024"}}},
		{"dns", "drop", `dns != nil && dns.qr == false && any(dns.questions, {.name endsWith ".example.org" && .type == 1})`,
			[]replay.Description{{Flow: dns, DNS: "a.example.org"}, {Flow: strings.Replace(dns, "udp", "tcp", 1), DNS: "a.example.org"}},
			[]replay.Description{{Flow: dns, DNS: "example.org"}, {Flow: strings.Replace(dns, "53", "54", 1), DNS: "a.example.org"}}},
		{"mixed", "block", `ip.dst == "198.51.100.1" || string(tls?.req?.sni) == "example.org"`,
			[]replay.Description{{Flow: dns}, {Flow: "tcp 192.0.2.1:5000 > 198.51.100.2:443", SNI: "example.org"}},
			[]replay.Description{{Flow: "tcp 192.0.2.1:5000 > 198.51.100.2:443", SNI: "example.com"}}},
		{"not", "block", `proto != "tcp"`, []replay.Description{{Flow: dns}}, []replay.Description{{Flow: web}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := fmt.Sprintf("- name: x\n  action: %s\n  expr: >-\n    %s\n", test.action, test.expr)
			result, err := OpenGFW("rules", []byte(text), &Options{})
			if err != nil || len(result.Left) > 0 {
				t.Fatalf("%v, %+v", err, result)
			}
			for _, d := range test.matches {
				if got := decision(t, result.Config, d); !strings.HasPrefix(got, `"x" decides`) {
					t.Errorf("%+v: %s\n%s", d, got, result.Config)
				}
			}
			for _, d := range test.other {
				if got := decision(t, result.Config, d); got != "accept by default" {
					t.Errorf("%+v: %s\n%s", d, got, result.Config)
				}
			}
		})
	}
}

// udp is a packet to port 9 with a payload in hexadecimal digits.
func udp(payload string) replay.Description {
	n := len(payload) / 2
	return replay.Description{Packet: fmt.Sprintf("4500%04x0000400040110000c0000201c6336401", 28+n) + fmt.Sprintf("13880009%04x0000", 8+n) + payload}
}

// TestOpenGFWOrder: the file's, but for what is known before a name is.
func TestOpenGFWOrder(t *testing.T) {
	result, err := OpenGFW("rules", []byte(`
- name: log
  log: true
  expr: proto == "tcp"
- name: good
  action: allow
  expr: tls?.req?.sni == "example.org"
- name: net
  action: block
  expr: cidr(ip.dst, "198.51.100.128/25")
- name: all
  action: block
  expr: tls != nil && tls.req != nil
`), &Options{})
	if err != nil || result.Taken != 4 {
		t.Fatalf("%v, %+v", err, result)
	}
	for _, test := range []struct{ flow, sni, want string }{
		{web, "example.org", `"good" decides: accept`},
		{web, "example.com", `"all" decides: drop`},
		{"tcp 192.0.2.1:1 > 198.51.100.200:443", "example.org", `"net" decides: drop`},
		{web, "", `"good" waits for the flow's name: accept`},
	} {
		if got := decision(t, result.Config, replay.Description{Flow: test.flow, SNI: test.sni}); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s %s: %s, want %s\n%s", test.flow, test.sni, got, test.want, result.Config)
		}
	}
}

// TestOpenGFWLeft: what is not taken over is named, with its line and the reason.
func TestOpenGFWLeft(t *testing.T) {
	for expr, says := range map[string]string{
		`string(tls?.req?.sni) endsWith "example.org"`:               "--by-label",
		`string(tls?.req?.sni) contains "example"`:                   "not by contains",
		`tls?.req?.sni matches "^a"`:                                 "not by matches",
		`!(tls?.req?.sni == "example.org")`:                          "first packet",
		`tls?.req?.sni != "example.org"`:                             "first packet",
		`tls == nil`:                                                 "nothing that says the same",
		`geoip(string(ip.dst), "cn")`:                                "set",
		`ssh != nil`:                                                 "nothing that says the same",
		`fet != nil && fet.yes`:                                      "nothing that says the same",
		`port.dst == 70000`:                                          "no port",
		`proto == "icmp"`:                                            "never is",
		`ip.src == "2001:db8:0::1"`:                                  "never is",
		`tls.req.sni == "a.org" || port.dst == 53`:                   "write ?.",
		`proto == "tcp" && proto == "udp"`:                           "never matches",
		`dns != nil && dns.qr && port.dst == 53`:                     "the other way",
		`tls?.req?.sni == "https://a.org"`:                           "URL",
		`tls?.req?.sni == "ex*mple.org"`:                             "no entry of names",
		`lower(tls?.req?.sni) == "A.org"`:                            "capital letters",
		`port.dst +`:                                                 "expr:",
		`  `:                                                         "expr: it has none",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100): "deep",
		strings.Repeat("!", 10000) + "true":                          "deep",
		strings.Repeat("not ", 5000) + `(proto == "tcp")`:            "",
		"true" + strings.Repeat(" || true", 20000):                   "bytes",
		"(tls?.a == 1)" + strings.Repeat(" && (port.dst == 1 or tls != nil)", 200): "",
		strings.Repeat("(port.dst == 1 or tls != nil) && ", 200) + "true":          "deep",
	} {
		result, err := OpenGFW("rules", []byte("# c\n- action: block\n  name: x\n  expr: "+fmt.Sprintf("%q", expr)+"\n"), &Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Left) != 1 || result.Left[0].Line != 2 || result.Left[0].Rule != "x" || !strings.Contains(result.Left[0].Why, says) || result.Taken != 0 {
			t.Errorf("%.100s: %+v, want %q\n%s", expr, result.Left, says, result.Config)
		}
	}
}

// TestOpenGFWFiles: what is no list of rules, or is wrong in a rule.
func TestOpenGFWFiles(t *testing.T) {
	for text, says := range map[string]string{
		"a: b":                      "no list of rules",
		"- [":                       "not YAML",
		strings.Repeat("[", 100000): "deep",
		"\xff\xfea":                 "UTF-16",
		"- 5":                       "",
		"- {action: modify, expr: a, modifier: {name: dns}}": "",
		"- {action: allow, action: block, expr: 'true'}":     "",
		"- {expr: 'true'}":                 "",
		"- {action: permit, expr: 'true'}": "",
	} {
		result, err := OpenGFW("rules", []byte(text), &Options{})
		if says == "" && (err != nil || len(result.Left) != 1) || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%.40q: %+v, %v; want %q", text, result, err, says)
		}
	}
}

// TestByLabel: a name's end is taken for its labels where that is asked for, and it is said.
func TestByLabel(t *testing.T) {
	result, err := OpenGFW("rules", []byte("- {name: x, action: block, expr: 'string(tls?.req?.sni) endsWith \"example.org\"'}"), &Options{ByLabel: true})
	if err != nil || result.Taken != 1 || !strings.Contains(fmt.Sprint(result.Notes), noteLabels) {
		t.Fatalf("%v, %+v", err, result)
	}
	for _, name := range []string{"example.org", "a.example.org"} {
		if got := decision(t, result.Config, replay.Description{Flow: web, SNI: name}); !strings.HasPrefix(got, `"x" decides: drop`) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// FuzzOpenGFW: whatever is read, a configuration that is accepted comes out, and every rule is counted once.
func FuzzOpenGFW(f *testing.F) {
	f.Add([]byte("- name: x\n  action: block\n  log: true\n  expr: string(tls?.req?.sni) endsWith \".example.org\" && port.dst in [443, 8443]\n"))
	f.Add([]byte("- {action: drop, expr: 'dns != nil && not dns.qr && any(dns.questions, {.name == \"a.org\" || .type in [1, 28]}) || cidr(string(ip.src), \"192.0.2.0/24\")'}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := OpenGFW("rules", data, &Options{ByLabel: true})
		if err == nil && result.Taken+len(result.Left) != result.Rules {
			t.Errorf("%d rules, %d taken over, %d not", result.Rules, result.Taken, len(result.Left))
		}
	})
}
