package liverules

import (
	"testing"

	"verdictd/internal/testkit"
)

func TestConntrack(t *testing.T) {
	tracks := func(f Family) []*chain {
		return model(in(f, userChain("c", rule{tracks: true, outcomes: goesOn})))
	}
	idle := surroundings{loaded: Yes}
	tests := []struct {
		name               string
		chains             []*chain
		surroundings       surroundings
		complete           bool
		ipv4, ipv6, bridge Answer
	}{
		{"not loaded", tracks(Inet), surroundings{loaded: No}, true, No, No, No},
		{"nobody needs it", model(userChain("c", queue(1))), idle, true, No, No, No},
		{"ip", tracks(IPv4), idle, true, Yes, No, No},
		{"ip6", tracks(IPv6), idle, true, No, Yes, No},
		{"inet", tracks(Inet), idle, true, Yes, Yes, No},
		{"bridge", tracks(Bridge), idle, true, Yes, Yes, Yes},
		{"entries", nil, surroundings{loaded: Yes, entries: 3}, true, Unknown, Unknown, Unknown},
		{"entries of one family", tracks(IPv4), surroundings{loaded: Yes, entries: 3}, true, Yes, No, No},
		{"IPVS", nil, surroundings{loaded: Yes, ipvs: true}, true, Yes, Yes, No},
		{"our own", ignored(tracks(Inet)), surroundings{loaded: Yes, entries: 3}, true, Unknown, Unknown, Unknown},
		{"our own, no entries", ignored(tracks(Inet)), idle, true, No, No, No},
		{"our own, and others", append(ignored(tracks(Inet)), tracks(IPv4)...), surroundings{loaded: Yes, entries: 3}, true, Yes, No, No},
		{"rules unread", nil, idle, false, Unknown, Unknown, Unknown},
		{"some rules unread", tracks(IPv4), idle, false, Yes, Unknown, Unknown},
		{"unknown whether loaded", nil, surroundings{loaded: Unknown}, true, Unknown, Unknown, Unknown},
		{"an old kernel", nil, surroundings{loaded: Yes, always: true}, false, Yes, Yes, No},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := test.surroundings.conntrack(test.chains, test.complete)
			if c.IPv4 != test.ipv4 || c.IPv6 != test.ipv6 || c.Bridge != test.bridge || c.Reason == "" {
				t.Errorf("%+v, want %s, %s, %s", c, test.ipv4, test.ipv6, test.bridge)
			}
		})
	}
}

func ignored(chains []*chain) []*chain {
	for _, c := range chains {
		c.ignored = true
	}
	return chains
}

func TestBefore411(t *testing.T) {
	for release, want := range map[string]bool{
		"3.10.0-1160.el7.x86_64": true, "4.10.17": true, "4.11.0-rc1": false, "4.18.0-553.el8_10": false,
		"6.18.1": false, "10.2": false, "": false, "next": false,
	} {
		if got := before411(release); got != want {
			t.Errorf("%q is before 4.11: %v, want %v", release, got, want)
		}
	}
}

func TestConntrackInFreshNamespace(t *testing.T) {
	ns := testkit.Namespace(t)
	c := read(t).Conntrack
	if c.IPv4 != Yes || c.IPv6 != Yes {
		t.Errorf("%+v with a ct rule in family inet", c)
	}
	run(t, "delete table inet anchor", "nft", "-f", "-")
	if c := read(t).Conntrack; c.IPv4 != No || c.IPv6 != No || c.Bridge != No {
		t.Errorf("%+v without any rule in %s", c, ns.Path())
	}
}
