package convert

import (
	"strings"
	"testing"

	"verdictd/daemon/internal/replay"
)

// TestSuricata: the policy decides as Suricata does. The rule that decides is named x.
func TestSuricata(t *testing.T) {
	variables := map[string]string{"HOME_NET": "[192.0.2.0/24, 2001:db8::/32]", "EXTERNAL_NET": "!$HOME_NET", "PORTS": "[443,8000:8010,!8005]"}
	for _, test := range []struct {
		name, rule     string
		matches, other []replay.Description
	}{
		{"addresses", `drop ip 192.0.2.1 any -> [198.51.100.0/24, !198.51.100.2] any (sid:1;)`,
			[]replay.Description{{Flow: web}, {Flow: dns}},
			[]replay.Description{{Flow: "udp 192.0.2.1:1 > 198.51.100.2:53"}, {Flow: "udp 192.0.2.2:1 > 198.51.100.1:53"}}},
		{"both ways", `drop tcp $HOME_NET any <> $EXTERNAL_NET $PORTS (msg:"a \; b"; sid:1; rev:2;)`,
			[]replay.Description{{Flow: web}, {Flow: "tcp 198.51.100.1:8001 > 192.0.2.1:5000"}},
			[]replay.Description{{Flow: dns}, {Flow: "tcp 192.0.2.1:1 > 198.51.100.1:8005"}, {Flow: "tcp 192.0.2.1:1 > 192.0.2.2:443"}}},
		{"sni", `drop tls any any -> any any (flow:established,to_server; tls.sni; content:"example.org"; bsize:11; nocase; fast_pattern; sid:1;)`,
			[]replay.Description{{Flow: web, SNI: "example.org"}},
			[]replay.Description{{Flow: web, SNI: "a.example.org"}, {Flow: web, Host: "example.org"}}},
		{"dotprefix", `drop tls any any -> any 443 (tls.sni; dotprefix; content:".example.org"; endswith; sid:1;)`,
			[]replay.Description{{Flow: web, SNI: "example.org"}, {Flow: web, SNI: "a.example.org"}},
			[]replay.Description{{Flow: web, SNI: "aexample.org"}, {Flow: "tcp 192.0.2.1:1 > 198.51.100.1:80", SNI: "example.org"}}},
		{"query", `drop dns any any -> any any (dns_query; content:".example.org"; isdataat:!1,relative; nocase; sid:1;)`,
			[]replay.Description{{Flow: dns, DNS: "a.example.org"}, {Flow: strings.Replace(dns, "udp", "tcp", 1), DNS: "a.example.org"}},
			[]replay.Description{{Flow: dns, DNS: "example.org"}, {Flow: web, SNI: "a.example.org"}}},
		{"host", `reject http any any -> any any (content:"example.org"; http_host; startswith; endswith; sid:1;)`,
			[]replay.Description{{Flow: web, Host: "example.org"}}, []replay.Description{{Flow: web, SNI: "example.org"}}},
		{"content", `drop udp any any -> any 9 (content:"|0a 0B|x\;"; offset:2; depth:4; sid:1;)`,
			[]replay.Description{udp("0a0a0a0b783b00")}, []replay.Description{udp("0a0b783b"), udp("0a0a0a0b78")}},
		{"anywhere", `drop udp any any -> any 9 (content:"AB|ff|"; nocase; content:!"no"; sid:1;)`,
			[]replay.Description{udp("006142ff"), udp("6162ff00")}, []replay.Description{udp("6162"), udp("6162ff6e6f"), udp("6162fe")}},
		{"within", `drop udp any any -> any 9 (content:"ab"; offset:1; depth:3; sid:1;)`,
			[]replay.Description{udp("006162"), udp("00006162")}, []replay.Description{udp("6162"), udp("0000006162")}},
		{"end", `drop udp any any -> any 9 (content:"ab"; endswith; sid:1;)`,
			[]replay.Description{udp("6162"), udp("0a6162")}, []replay.Description{udp("616200")}},
		{"size", `drop udp any any -> any 9 (dsize:2<>5; sid:1;)`,
			[]replay.Description{udp("000000"), udp("00000000")}, []replay.Description{udp("0000"), udp("0000000000")}},
		{"short", `drop udp any any -> any 9 (dsize:<2; sid:1;)`, []replay.Description{udp(""), udp("00")}, []replay.Description{udp("0000")}},
		{"server", `drop udp any any -> any any (flow:to_server; sid:1;)`, []replay.Description{udp("00")}, []replay.Description{{Flow: web}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := Suricata([]byte(test.rule), &Options{Variables: variables})
			if err != nil || len(result.Left) > 0 || result.Taken != 1 {
				t.Fatalf("%v, %+v", err, result)
			}
			for _, d := range test.matches {
				if got := decision(t, result.Config, d); !strings.HasPrefix(got, `"sid 1`) {
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

// TestOrder: pass before drop before reject, whatever the file's order; headers before names of TCP.
func TestOrder(t *testing.T) {
	result, err := Suricata([]byte(`# a comment
reject udp any any -> any 9 (sid:1;)
alert udp any any -> any any (sid:2;)
drop udp any any -> \
   any 9:10 (sid:3;)
pass udp 192.0.2.1 any -> any any (content:"ok"; startswith; sid:4;)
pass tls any any -> any any (tls.sni; content:"example.org"; startswith; endswith; nocase; sid:5;)
drop tcp any any -> any 80 (sid:6;)
`), &Options{})
	if err != nil || result.Rules != 6 || result.Taken != 6 {
		t.Fatalf("%v, %+v", err, result)
	}
	for _, test := range []struct {
		d    replay.Description
		want string
	}{
		{udp("6f6b"), `"sid 4" decides: accept`},
		{udp("6f"), `"sid 3" decides: drop`},
		{replay.Description{Flow: web, SNI: "example.org"}, `"sid 5" decides: accept`},
		{replay.Description{Flow: strings.Replace(web, "443", "80", 1), SNI: "example.org"}, `"sid 6" decides: drop`},
	} {
		if got := decision(t, result.Config, test.d); !strings.HasPrefix(got, test.want) {
			t.Errorf("%+v: %s, want %s\n%s", test.d, got, test.want, result.Config)
		}
	}
}

// TestLeft: what is not taken over is named, with its line and the reason, and nothing else becomes of it.
func TestLeft(t *testing.T) {
	for rule, says := range map[string]string{
		`drop tcp any any -> any any (content:"a"; sid:1;)`:                                        "several packets",
		`drop udp any any -> any any (content:"a"; content:"b"; distance:1; sid:1;)`:               "relative",
		`drop udp any any -> any any (content:!"a"; sid:1;)`:                                       "alone",
		`drop udp any any -> any any (pcre:"/a/"; sid:1;)`:                                         "PCRE",
		`drop udp any any -> any any (content:"a"; depth:4000; sid:1;)`:                            "repeat count",
		`drop udp any any -> any any (flow:established; sid:1;)`:                                   "conntrack",
		`drop tls any any -> any any (sid:1;)`:                                                     "without a name",
		`drop tls any any -> any any (tls.sni; content:"example.org"; endswith; sid:1;)`:           "use --by-label",
		`drop tls any any -> any any (tls.sni; content:"example"; sid:1;)`:                         "anywhere",
		`drop tls any any -> any any (tls.sni; content:!"a.org"; bsize:5; sid:1;)`:                 "content:!",
		`drop http any any -> any any (http.host; content:"A.org"; bsize:5; sid:1;)`:               "never matches",
		`drop dns any any -> any any (flow:established; dns.query; content:"a"; bsize:1; sid:1;)`:  "first packet",
		`drop dns any any -> any any (dns.query; content:"a"; bsize:1; content:"b"; sid:1;)`:       "one content",
		`drop tcp $HOME_NET any -> any any (sid:1;)`:                                               "--var HOME_NET=",
		`drop tcp [192.0.2.1, any] any -> any any (sid:1;)`:                                        "any behind",
		`drop tcp 192.0.2.1 any -> 2001:db8::1 any (sid:1;)`:                                       "the policy refuses",
		`drop tcp any 1:x -> any any (sid:1;)`:                                                     "neither a port",
		`drop tcp any any => any any (sid:1;)`:                                                     "direction",
		`drop sip any any -> any any (sid:1;)`:                                                     "protocol sip",
		`rejectboth tcp any any -> any any (sid:1;)`:                                               "action rejectboth",
		`drop tcp any any -> any any (sid:1)`:                                                      "no ; at its end",
		`drop tcp any any`:                                                                         "no rule",
		`drop udp any any -> any any (flowbits:set,a; sid:1;)`:                                     "flowbits",
		`drop ip any any -> any any (ttl:5; sid:1;)`:                                               "ttl: it is not taken over",
		`drop udp ` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + ` any -> any any ()`: "deep",
		`drop udp any any -> any any (content:"` + strings.Repeat("a", 9000) + `"; sid:1;)`:        "8192",
		"\x00\xff(\x7f": "no rule",
	} {
		result, err := Suricata([]byte("\n"+rule+"\n"), &Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Left) != 1 || result.Left[0].Line != 2 || !strings.Contains(result.Left[0].Why, says) || result.Taken != 0 || strings.Contains(string(result.Config), "rules:") {
			t.Errorf("%.100s: %+v, want %q\n%s", rule, result.Left, says, result.Config)
		}
	}
}

// FuzzSuricata: whatever is read, a configuration that is accepted comes out, and every rule is counted once.
func FuzzSuricata(f *testing.F) {
	f.Add([]byte(`drop tls any any -> any 443 (tls.sni; dotprefix; content:".example.org"; endswith; sid:1;)`))
	f.Add([]byte(`pass udp [192.0.2.1,!192.0.2.2] 1:5 <> $HOME_NET !53 (content:!"a|00|"; nocase; content:"b"; offset:1; depth:9; dsize:>3; sid:1;)` + "\\\n#"))
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := Suricata(data, &Options{ByLabel: true, Variables: map[string]string{"HOME_NET": "192.0.2.0/24", "A": "[$A,$A]"}})
		if err == nil && result.Taken+len(result.Left) != result.Rules {
			t.Errorf("%d rules, %d taken over, %d not", result.Rules, result.Taken, len(result.Left))
		}
	})
}
