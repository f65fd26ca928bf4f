package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/internal/vocabulary"
)

func named(t testing.TB, state names.State, protocol flows.Protocol, name string) *Input {
	in := inputOf(t, "192.0.2.1", "198.51.100.2", 443)
	in.Name = flows.Result{State: state, Protocol: protocol, Name: []byte(name)}
	return in
}

func listed(list ...string) Names { return Names{List: list} }

func verdictOf(p *Policy, in *Input) (v Verdict) {
	p.NewDecider().Decide(in, &v)
	return v
}

// A name that is not known yet matters only where it could change what happens.
func TestPending(t *testing.T) {
	tls := func(list ...string) Match { return Match{TLS: &HelloMatch{Names: listed(list...)}} }
	other := tls("good.example")
	p := compiled(t, vocabulary.Reject,
		Rule{Action: vocabulary.Drop, Match: Match{DestinationPorts: portList(25, 25)}},
		Rule{Action: vocabulary.Count, Match: tls("counted.example")},
		Rule{Action: vocabulary.Drop, Match: Match{Protocols: []uint8{6}, Not: &other}},
		Rule{Action: vocabulary.Accept, Hold: true, Match: tls("good.example"), Flow: true},
		Rule{Action: vocabulary.Drop, Match: Match{NameStates: []names.State{names.Hidden, names.TooLong}}},
	)
	for _, test := range []struct {
		name string
		in   *Input
		want Verdict
	}{
		{"not known", named(t, names.More, flows.Unknown, ""), Verdict{Action: vocabulary.Accept, Rule: 3, Pending: true, Hold: true}},
		{"of another protocol", named(t, names.More, flows.HTTP, ""), Verdict{Action: vocabulary.Accept, Rule: 4, Pending: true}},
		{"good", named(t, names.Known, flows.TLS, "good.example"), Verdict{Action: vocabulary.Accept, Rule: 3, Flow: true}},
		{"good elsewhere", named(t, names.Known, flows.HTTP, "good.example"), Verdict{Action: vocabulary.Reject, Rule: 5}},
		{"counted", named(t, names.Known, flows.TLS, "a.counted.example"), Verdict{Action: vocabulary.Reject, Rule: 5, Counted: []int32{1}}},
		{"an outer name", named(t, names.Hidden, flows.TLS, "good.example"), Verdict{Action: vocabulary.Accept, Rule: 3, Flow: true}},
		{"another outer name", named(t, names.Hidden, flows.TLS, "other.example"), Verdict{Action: vocabulary.Drop, Rule: 4}},
		{"none to be seen", named(t, names.Hidden, flows.TLS, ""), Verdict{Action: vocabulary.Drop, Rule: 4}},
		{"too long", named(t, names.TooLong, flows.Unknown, ""), Verdict{Action: vocabulary.Drop, Rule: 4}},
		{"none", named(t, names.None, flows.Unknown, ""), Verdict{Action: vocabulary.Reject, Rule: 5}},
	} {
		if got := verdictOf(p, test.in); !same(&got, &test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
	questions := compiled(t, vocabulary.Reject, Rule{Action: vocabulary.Drop, Match: Match{DNS: &DNSMatch{}}},
		Rule{Action: vocabulary.Drop, Match: Match{QUIC: &HelloMatch{}}})
	for protocol, want := range map[flows.Protocol]Verdict{
		flows.Unknown: {Action: vocabulary.Reject, Rule: 2}, // ports tell DNS, and the first packet QUIC
		flows.DNS:     {Action: vocabulary.Accept, Rule: 0, Pending: true},
		flows.QUIC:    {Action: vocabulary.Accept, Rule: 1, Pending: true},
	} {
		if got := verdictOf(questions, named(t, names.More, protocol, "")); !same(&got, &want) {
			t.Errorf("pending %v: %+v, want %+v", protocol, got, want)
		}
	}
	early := named(t, names.More, flows.Unknown, "")
	early.View.DstPort = 25
	if got := verdictOf(p, early); got.Action != vocabulary.Drop || got.Pending {
		t.Errorf("a rule before those on names: %+v", got)
	}
}

// A flow of DNS has many names, and one verdict would be for all.
func TestFlowOfQuestions(t *testing.T) {
	rules := []Rule{
		{Action: vocabulary.Accept, Flow: true, Match: Match{DestinationPorts: portList(443, 443), Protocols: []uint8{6}}},
		{Action: vocabulary.Drop, Match: Match{Any: []Match{{DNS: &DNSMatch{Names: listed("bad.example")}}}}, Flow: true},
		{Action: vocabulary.Accept, Flow: true, Match: Match{Source: prefixList("192.0.2.0/24")}},
	}
	early, late := rules[2:], rules
	for _, test := range []struct {
		name  string
		rules []Rule
		in    *Input
		rule  int
		want  bool
	}{
		{"without names", early, named(t, names.Known, flows.DNS, "good.example"), 0, true},
		{"behind a look at names", late, named(t, names.Known, flows.DNS, "good.example"), 2, false},
		{"by a name", late, named(t, names.Known, flows.DNS, "bad.example"), 1, false},
		{"of TLS", late, named(t, names.Known, flows.TLS, "bad.example"), 2, true},
		{"of none", late, named(t, names.None, flows.Unknown, ""), 2, true},
	} {
		if got := verdictOf(compiled(t, vocabulary.Drop, test.rules...), test.in); got.Flow != test.want || got.Rule != test.rule {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
	p, err := Compile(Config{Flow: true, Rules: rules[1:2]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := verdictOf(p, named(t, names.Known, flows.DNS, "good.example")); got.Flow || got.Rule != 1 {
		t.Errorf("by default: %+v", got)
	}
}

// What a later rule sets counts, bit by bit.
func TestMarks(t *testing.T) {
	p := compiled(t, vocabulary.Accept,
		Rule{Action: vocabulary.Count, Mark: Masked{0x11, 0xff}, ConnMark: Masked{1, 1}},
		Rule{Action: vocabulary.Count, Match: Match{DestinationPorts: portList(1, 1)}, Mark: Masked{0, ^uint32(0)}},
		Rule{Action: vocabulary.Requeue, Queue: 7, Mark: Masked{0x520, 0xff0}},
	)
	v := verdictOf(p, inputOf(t, "192.0.2.1", "198.51.100.2", 53))
	want := Verdict{Action: vocabulary.Requeue, Rule: 2, Queue: 7, Mark: Masked{0x521, 0xfff}, ConnMark: Masked{1, 1}, Counted: []int32{0}}
	if !same(&v, &want) {
		t.Errorf("%+v, want %+v", v, want)
	}
	if got := v.Mark.Changed(0xabcd_1234); got != 0xabcd_1521 {
		t.Errorf("a mark becomes %#x", got)
	}
}

func TestStricter(t *testing.T) {
	order := []Verdict{
		{Action: vocabulary.Accept, Flow: true}, {Action: vocabulary.Accept}, {Action: vocabulary.Accept, Pending: true}, {Action: vocabulary.Accept, Pending: true, Hold: true},
		{Action: vocabulary.Repeat}, {Action: vocabulary.Requeue}, {Action: vocabulary.Reject}, {Action: vocabulary.Drop}, {Action: vocabulary.Drop, Flow: true},
	}
	for i := range order {
		for j := range order {
			if got := order[i].Stricter(&order[j]); got != (i > j) {
				t.Errorf("%+v before %+v: %v", order[i], order[j], got)
			}
		}
	}
}

func TestCTOf(t *testing.T) {
	for _, test := range []struct {
		info, status uint32
		present      bool
		want         string
	}{
		{0, 0, true, "established"}, {1, 0, true, "related"}, {2, 1 << 3, true, "new"}, {3, 1 << 4, true, "established reply snat"},
		{4, 1 << 5, true, "related reply dnat"}, {2, 1<<4 | 1<<5, true, "new snat dnat"}, {7, 0, true, "reply"}, {99, 0, true, "reply"}, {2, 1, false, "invalid untracked"},
	} {
		if got := CTOf(test.info, test.status, test.present).String(); got != test.want {
			t.Errorf("%d with status %#x: %s, want %s", test.info, test.status, got, test.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	not := Match{UIDs: []Range{{0, 0}}}
	for _, test := range []struct {
		rule Rule
		want Needs
	}{
		{Rule{Match: Match{Protocols: []uint8{6}, Source: prefixList("192.0.2.0/24")}}, Needs{}},
		{Rule{Match: Match{Payload: []PayloadBytes{{Offset: 3, Bytes: []byte("ab")}}}}, Needs{Payload: 5}},
		{Rule{Match: Match{Regexp: "a"}}, Needs{Payload: 1024}},
		{Rule{Match: Match{Any: []Match{{DNS: &DNSMatch{}}}}}, Needs{Names: true}},
		{Rule{Match: Match{NameStates: []names.State{names.None}}}, Needs{Names: true}},
		{Rule{Match: Match{Not: &not}}, Needs{UIDGID: true}},
		{Rule{Match: Match{All: []Match{{Conntrack: CTNew}}}}, Needs{Conntrack: true}},
		{Rule{Match: Match{ConnMarks: []Masked{{1, 1}}}}, Needs{ConnMark: true}},
		{Rule{ConnMark: Masked{1, 1}}, Needs{SetConnMark: true}},
		{Rule{Match: Match{InterfacesIn: []string{"wg*"}}}, Needs{Devices: true}},
		{Rule{Match: Match{Times: []TimeOfDay{{}}}}, Needs{Unix: true}},
		{Rule{Limit: Limit{Count: 1, Interval: time.Second}}, Needs{Now: true}},
		{Rule{Log: 1, Sample: 1, Flow: true}, Needs{Logs: true, Samples: true, Flows: true}},
	} {
		if got := compiled(t, 0, test.rule).Needs(); got != test.want {
			t.Errorf("%+v: %+v, want %+v", test.rule, got, test.want)
		}
	}
	if got := (*Policy)(nil).Needs(); got != (Needs{}) {
		t.Errorf("no policy needs %+v", got)
	}
}

func TestErrors(t *testing.T) {
	for want, r := range map[string]Rule{
		`rule "x": names: "http://a.example" is a URL`: {Name: "x", Match: Match{Names: listed("http://a.example")}},
		`rule #1: dns: "a..b"`:                         {Match: Match{DNS: &DNSMatch{Names: listed("a..b")}}},
		`rule #1: regexp "(": `:                        {Match: Match{Any: []Match{{}, {Regexp: "("}}}},
		`rule #1: regexp "é": has characters`:          {Match: Match{Not: &Match{Regexp: "é"}}},
		`rule #1: payload: 0 bytes at 4`:               {Match: Match{Payload: []PayloadBytes{{Offset: 4}}}},
		`rule #1: payload: 1 bytes at -1`:              {Match: Match{All: []Match{{Payload: []PayloadBytes{{Offset: -1, Bytes: []byte("a")}}}}}},
		`rule #1: limit: a rate has`:                   {Limit: Limit{Count: 1}},
		`more than a year`:                             {Limit: Limit{Count: 1, Interval: time.Hour, Burst: 1 << 40}},
	} {
		if _, err := Compile(Config{Rules: []Rule{r}}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestExplain(t *testing.T) {
	p := compiled(t, vocabulary.Accept,
		Rule{Name: "mail", Action: vocabulary.Drop, Match: Match{Protocols: []uint8{6}, DestinationPorts: portList(25, 25)}},
		Rule{Name: "names", Action: vocabulary.Drop, Match: Match{
			Source: prefixList("192.0.2.0/24"), Any: []Match{{DNS: &DNSMatch{Names: listed("example.com")}}, {TLS: &HelloMatch{Names: listed("example.com")}}},
		}, Limit: Limit{Count: 1, Interval: time.Second}},
	)
	d := p.NewDecider()
	in := named(t, names.Known, flows.DNS, "www.example.com")
	text := func() string {
		var b strings.Builder
		for _, r := range d.Explain(in).Tried {
			b.WriteString(r.Name + "=" + r.Match.String())
			if r.Limited {
				b.WriteString(" limited")
			}
			for _, part := range r.Parts {
				b.WriteString("; " + part.Key + "=" + part.Match.String() + " " + part.Has)
				for _, group := range part.Groups {
					b.WriteString("(" + group[0].Key + "=" + group[0].Match.String() + " " + group[0].Has + ")")
				}
			}
			b.WriteString("\n")
		}
		return b.String()
	}
	want := "mail=no; protocols=no udp; destination_ports=no 443\n" +
		"names=yes; source=yes 192.0.2.1; any=yes (dns=yes dns known www.example.com)(tls=no dns known www.example.com)\n"
	for range 3 { // it takes nothing from the limit
		if got := text(); got != want {
			t.Fatalf("explained\n%swant\n%s", got, want)
		}
	}
	var v Verdict
	d.Decide(in, &v)
	if got := text(); v.Rule != 1 || !strings.Contains(got, "names=yes limited") {
		t.Errorf("decided by rule %d, then\n%s", v.Rule, got)
	}
	if e := (*Policy)(nil).NewDecider().Explain(in); len(e.Tried) != 0 {
		t.Errorf("no policy tried %+v", e)
	}
}

// A later hook default and the flow of a default are said as well.
func TestDefaults(t *testing.T) {
	for _, rules := range [][]Rule{nil, {{Match: Match{Hooks: []uint8{0}}}}} {
		p, err := Compile(Config{
			Default: vocabulary.Drop, Defaults: map[uint8]vocabulary.Action{3: vocabulary.Accept}, Flow: true, Rules: rules,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := inputOf(t, "192.0.2.1", "198.51.100.2", 53)
		for hook, want := range map[uint8]vocabulary.Action{1: vocabulary.Drop, 3: vocabulary.Accept, 4: vocabulary.Drop} {
			in.Hook = hook
			if got := verdictOf(p, in); got.Action != want || got.Rule != len(rules) || !got.Flow {
				t.Errorf("hook %d: %+v, want %v", hook, got, want)
			}
		}
	}
}

func TestTimeOfDay(t *testing.T) {
	zone := time.FixedZone("east", 2*3600)
	at := func(day, hour, minute, second int) int64 {
		return time.Date(2026, 6, day, hour, minute, second, 0, zone).Unix()
	} // the 1st is a Monday
	night := TimeOfDay{Days: [7]bool{time.Monday: true}, From: 22 * time.Hour, To: 6 * time.Hour, Zone: zone}
	d := compiled(t, vocabulary.Accept, Rule{Action: vocabulary.Drop, Match: Match{Times: []TimeOfDay{night}}}).NewDecider()
	in := inputOf(t, "192.0.2.1", "198.51.100.2", 53)
	for _, test := range []struct {
		unix int64
		want vocabulary.Action
	}{
		{at(1, 21, 59, 59), vocabulary.Accept}, {at(1, 22, 0, 0), vocabulary.Drop}, {at(2, 0, 0, 0), vocabulary.Drop}, {at(2, 5, 59, 59), vocabulary.Drop},
		{at(2, 6, 0, 0), vocabulary.Accept}, {at(2, 22, 30, 0), vocabulary.Accept}, {at(1, 5, 0, 0), vocabulary.Accept}, {at(1, 22, 30, 0), vocabulary.Drop},
	} {
		var v Verdict
		in.Unix = test.unix
		if d.Decide(in, &v); v.Action != test.want {
			t.Errorf("%v: %v, want %v", time.Unix(test.unix, 0).In(zone), v.Action, test.want)
		}
	}
}

// Entries of inline lists need not be in order, nor apart.
func TestLongLists(t *testing.T) {
	var list Match
	for i := range 3000 {
		list.Source.Prefixes = append(list.Source.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 7}), 32))
		list.DestinationPorts.Ranges = append(list.DestinationPorts.Ranges, vocabulary.Ports(uint16(2*i), uint16(2*i)))
	}
	slices.Reverse(list.Source.Prefixes)
	p := compiled(t, vocabulary.Accept, Rule{Action: vocabulary.Drop, Match: list})
	for _, test := range []struct {
		src  string
		port uint16
		want vocabulary.Action
	}{{"10.11.183.7", 5998, vocabulary.Drop}, {"10.11.183.7", 5999, vocabulary.Accept}, {"10.11.184.7", 5998, vocabulary.Accept}, {"10.0.0.7", 0, vocabulary.Drop}} {
		if got := verdictOf(p, inputOf(t, test.src, "198.51.100.2", test.port)); got.Action != test.want {
			t.Errorf("%s to %d: %v", test.src, test.port, got.Action)
		}
	}
}
