package matrix

import (
	"slices"
	"strings"
	"testing"
)

func TestDefaultRows(t *testing.T) {
	rows := defaultRows(true)
	for i, r := range rows {
		if slices.Contains(rows[:i], r) {
			t.Errorf("row %v twice", r)
		}
		if r.queued() {
			for d, value := range r {
				if !slices.Contains(values[d], value) && !(d == backend && r.foreign()) {
					t.Errorf("row %v has an unknown %s", r, dimensionNames[d])
				}
			}
		}
	}
	// What has to be there, whatever else is.
	for _, f := range values[family] {
		for _, p := range values[placement] {
			want := []string{"off", "hold"}
			switch p {
			case "none":
				if !slices.Contains(rows, baseline(f)) {
					t.Errorf("no row without a queue for %s", f)
				}
				continue
			case "pre-conntrack", "notrack":
				want = []string{"off"}
			case "output":
				want = append(want, "drop")
			}
			for _, g := range want {
				if r := plain.with(map[int]string{placement: p, family: f, guard: g}); !slices.Contains(rows, r) {
					t.Errorf("no row %v", r)
				}
			}
		}
	}
	for _, f := range values[family] {
		for _, changes := range []map[int]string{
			{placement: "forward", nat: "masquerade"}, {placement: "forward", nat: "backends"},
			{kind: "both-ends"}, {kind: "icmp"}, {placement: "forward", kind: "both-ends"},
			{placement: "forward", kind: "icmp"},
			{program: "libnetfilter_queue", backend: "none"}, {program: "go-nfqueue", backend: "none"},
			{fanout: "cpu"}, {placement: "postrouting", fanout: "cpu"}, {placement: "verdict3", fanout: "cpu"},
			{fanout: "numgen"}, {placement: "postrouting", fanout: "numgen"}, {placement: "verdict3", fanout: "numgen"},
		} {
			for _, g := range []string{"off", "hold"} {
				if r := plain.with(changes).with(map[int]string{family: f, guard: g}); !slices.Contains(rows, r) {
					t.Errorf("no row %v", r)
				}
			}
		}
	}
	for _, changes := range []map[int]string{{fanout: "ports"}, {backend: "gonfqueue"}, {events: "listener"}} {
		for _, g := range []string{"off", "hold"} {
			if r := plain.with(changes).with(map[int]string{guard: g}); !slices.Contains(rows, r) {
				t.Errorf("no row %v", r)
			}
		}
	}
	for _, r := range defaultRows(false) {
		if r[fanout] == "ports" {
			t.Errorf("row %v on a kernel that cannot hash ports", r)
		}
	}
}

func TestChoose(t *testing.T) {
	output := plain
	for _, tt := range []struct {
		name string
		only []string
		want []row
	}{
		{"one row", []string{"placement=output,guard=hold,family=ipv4,fanout=balance,nat=none,traffic=udp,program=verdictd,backend=mmsg,events=none"},
			[]row{output.with(map[int]string{guard: "hold"})}},
		{"a repeated key is either", []string{"placement=input,family=ipv6,guard=off,guard=hold"},
			[]row{output.with(map[int]string{placement: "input", family: "ipv6"}),
				output.with(map[int]string{placement: "input", family: "ipv6", guard: "hold"})}},
		{"a repeated flag is more, in the matrix's order",
			[]string{"placement=verdict3,family=ipv4,guard=off,fanout=balance", "placement=none",
				"placement=none,family=ipv4"},
			[]row{baseline("ipv4"), baseline("ipv6"), output.with(map[int]string{placement: "verdict3"})}},
		{"outside of the default matrix", []string{"placement=forward,guard=drop"},
			[]row{output.with(map[int]string{placement: "forward", guard: "drop"}),
				output.with(map[int]string{placement: "forward", guard: "drop", family: "ipv6"})}},
		{"outside, guard not named", []string{"fanout=numgen,family=ipv6,events=listener"},
			[]row{output.with(map[int]string{fanout: "numgen", family: "ipv6", events: "listener"}),
				output.with(map[int]string{fanout: "numgen", family: "ipv6", events: "listener", guard: "hold"})}},
		{"outside, another program has no backend",
			[]string{"program=go-nfqueue,family=ipv6,placement=verdict3,guard=hold"},
			[]row{output.with(map[int]string{program: "go-nfqueue", family: "ipv6", placement: "verdict3",
				guard: "hold", backend: "none"})}},
		{"outside, masquerading takes a router", []string{"nat=masquerade,family=ipv6,guard=drop"},
			[]row{output.with(map[int]string{placement: "forward", nat: "masquerade", family: "ipv6", guard: "drop"})}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Config{Only: tt.only}
			got, err := m.rows(false)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("rows %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	for only, want := range map[string]string{
		"placement":                 "not KEY=VALUE",
		"place=output":              "placement, family, fanout, nat, traffic, guard, program, backend, events",
		"placement=middle":          "pre-conntrack, notrack, output",
		"guard=on,family=ipv4":      "off, hold, drop",
		"":                          "not KEY=VALUE",
		"placement=none,guard=hold": "placement none has no queue",
		"placement=output,nat=masquerade,family=ipv4": "goes with placement forward",
		"placement=verdict3,traffic=icmp":             "does not go with placement verdict3",
		"nat=backends,traffic=both-ends":              "does not go with nat backends",
		"program=go-nfqueue,backend=mmsg":             "a backend is verdictd's",
		"program=go-nfqueue,guard=drop":               "drop does not go with program go-nfqueue",
	} {
		m := Config{Only: []string{only}}
		if _, err := m.rows(true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--only %q: error %v, want one with %q", only, err, want)
		}
	}
}
