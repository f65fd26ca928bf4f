package vocabulary

import (
	"encoding"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// each tells whether every value of a type passes its own check, and another word does not.
func each[T Word](t *testing.T, what string) {
	t.Helper()
	var none T
	for _, v := range none.Values() {
		if err := Check(what, T(v)); err != nil {
			t.Error(err)
		}
	}
	err := Check(what, T("no such word"))
	if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), none.Values()[0]) {
		t.Errorf("error %v: want one that lists the values of %s", err, what)
	}
	if Check(what, none) == nil {
		t.Errorf("no %s at all passes for one", what)
	}
}

func TestWords(t *testing.T) {
	each[Placement](t, "placement")
	each[Fanout](t, "fan-out")
	each[GuardMode](t, "guard mode")
	each[Backend](t, "backend")
	each[Distribution](t, "distribution")
	each[Per](t, "analysis")
	each[Family](t, "family")
}

func TestExposed(t *testing.T) {
	var exposed []string
	for _, p := range Placements() {
		if p.Exposed() {
			exposed = append(exposed, string(p))
		}
	}
	if got, want := strings.Join(exposed, " "), "output postrouting input forward verdict3"; got != want {
		t.Errorf("exposed are %s; want %s", got, want)
	}
}

func TestHooks(t *testing.T) {
	for hook, number := range map[Hook]int{
		HookPrerouting: unix.NF_INET_PRE_ROUTING, HookInput: unix.NF_INET_LOCAL_IN, HookForward: unix.NF_INET_FORWARD,
		HookOutput: unix.NF_INET_LOCAL_OUT, HookPostrouting: unix.NF_INET_POST_ROUTING, HookEgress: -1,
	} {
		if got := hook.Number(); got != number {
			t.Errorf("%s is number %d; want %d", hook, got, number)
		}
		if number >= 0 && HookAt(uint32(number)) != hook {
			t.Errorf("number %d is %s; want %s", number, HookAt(uint32(number)), hook)
		}
	}
	if got := HookAt(9); got != "hook 9" {
		t.Errorf("number 9 is %s", got)
	}
}

func TestProtocols(t *testing.T) {
	for _, p := range PortProtocols() {
		if !HasPorts(p) {
			t.Errorf("%d has no ports", p)
		}
	}
	if HasPorts(unix.IPPROTO_ICMP) || Gateable(unix.IPPROTO_TCP) || !Gateable(unix.IPPROTO_GRE) {
		t.Error("ICMP has ports, or TCP is held, or GRE is not")
	}
	if !slices.IsSorted(GateProtocols()) {
		t.Errorf("in disorder: %v", GateProtocols())
	}
	if p, err := ParseProtocol("ipv6-icmp"); err != nil || p.String() != "icmpv6" || p.NFT() != "ipv6-icmp" {
		t.Errorf("nft's name was read as %v, %v", p, err)
	}
	PortProtocols()[0], GateProtocols()[0] = 0, 0
	if HasPorts(0) || Gateable(0) {
		t.Error("a caller changes the list of all")
	}
}

// What is written is read again as it was.
func TestText(t *testing.T) {
	for text, v := range map[string]interface {
		encoding.TextMarshaler
		encoding.TextUnmarshaler
	}{"icmpv6": new(Protocol), "gre": new(Protocol), "99": new(Protocol), "accept": new(Action), "drop": new(Action)} {
		if err := v.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
		if got, err := v.MarshalText(); err != nil || string(got) != text {
			t.Errorf("%s is written as %s, %v", text, got, err)
		}
	}
	for text, v := range map[string]encoding.TextUnmarshaler{"ipv6": new(Protocol), "allow": new(Action)} {
		if v.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q passes for a %T", text, v)
		}
	}
	if text, err := Action(9).MarshalText(); err == nil {
		t.Errorf("action 9 is written as %q", text)
	}
}

func TestMergePorts(t *testing.T) {
	for _, test := range []struct{ of, want []PortRange }{
		{nil, []PortRange{}},
		{[]PortRange{Ports(5, 9), Ports(1, 4)}, []PortRange{Ports(1, 9)}},
		{[]PortRange{Ports(5, 9), Ports(1, 3), Ports(7, 7)}, []PortRange{Ports(1, 3), Ports(5, 9)}},
		{[]PortRange{Ports(1, MaxQueue), Ports(0, 0)}, []PortRange{Ports(0, MaxQueue)}},
	} {
		if got := MergePorts(test.of); !slices.Equal(got, test.want) {
			t.Errorf("%v is merged to %v; want %v", test.of, got, test.want)
		}
	}
}

func TestTableNames(t *testing.T) {
	for name, good := range map[string]bool{
		"verdictd": true, "_x": true, ".x": true, "a/b-c_d.9": true, strings.Repeat("x", 31): true,
		"": false, "7up": false, "-x": false, "a b": false, "é": false, "a\n": false, strings.Repeat("x", 32): false,
	} {
		if err := CheckTableName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestParseProtocol(t *testing.T) {
	for p := range 256 {
		if got, err := ParseProtocol(Protocol(p).String()); err != nil || got != Protocol(p) {
			t.Errorf("%v was read as %v, %v", Protocol(p), got, err)
		}
	}
	if p, err := ParseProtocol("17"); err != nil || p.String() != "udp" {
		t.Errorf("17 is %v, %v", p, err)
	}
	for _, s := range []string{"", "256", "-1", "UDP ", "nonsense"} {
		if p, err := ParseProtocol(s); err == nil {
			t.Errorf("%q was read as %v", s, p)
		}
	}
}

func TestQueries(t *testing.T) {
	for protocol, want := range map[uint8][]uint8{
		unix.IPPROTO_ICMP: {8, 13, 15, 17}, unix.IPPROTO_ICMPV6: {128, 139}, unix.IPPROTO_UDP: nil,
	} {
		if got := Queries(protocol); !slices.Equal(got, want) {
			t.Errorf("protocol %d: %v; want %v", protocol, got, want)
		}
	}
}
