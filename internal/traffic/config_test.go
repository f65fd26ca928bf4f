package traffic

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	tests := []struct {
		target, allowed string
		ok              bool
	}{
		{"127.0.0.1", "", true},
		{"127.9.9.9", "", true},
		{"192.0.2.200", "", true},
		{"198.51.100.1", "", true},
		{"203.0.113.1", "", true},
		{"::1", "", true},
		{"2001:db8:ffff::1", "", true},
		{"8.8.8.8", "", false},
		{"10.0.0.1", "", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"192.0.3.1", "", false},
		{"2001:db9::1", "", false},
		{"2001:db9::1", "2001:db9::1", true},
		{"::ffff:127.0.0.1", "::ffff:127.0.0.1", false},
		{"fe80::1%eth0", "fe80::1%eth0", false},
		{"0.0.0.0", "0.0.0.0", false},
		{"::", "::", false},
		{"224.0.0.1", "224.0.0.1", false},
		{"ff02::1", "ff02::1", false},
		{"255.255.255.255", "255.255.255.255", false},
	}
	for _, tt := range tests {
		var allowed netip.Addr
		if tt.allowed != "" {
			allowed = netip.MustParseAddr(tt.allowed)
		}
		if err := CheckTarget(netip.MustParseAddr(tt.target), allowed); (err == nil) != tt.ok {
			t.Errorf("target %s, allowed %q: %v", tt.target, tt.allowed, err)
		}
	}
	if err := CheckTarget(netip.Addr{}, netip.Addr{}); err == nil {
		t.Error("no address is a target")
	}
}

func TestDefaultClashIsValid(t *testing.T) {
	cfg := DefaultClash()
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	cfg := ClashConfig{
		Target: netip.MustParseAddr("8.8.8.8"), Ports: "random",
		Sources: []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.1")},
		Burst:   MaxBurst + 1, Size: HeaderSize - 1, Mode: "fast", Threads: -1,
		Pace: Pace{-1}, Outstanding: -1, Linger: -1, Timeout: MaxTimeout + 1,
	}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, want := range []string{
		"target 8.8.8.8", "port 0", `ports "random"`, "source ::1", "given twice", "flows 0", "burst 1025", "size 27",
		`mode "fast"`, "threads -1", "pace of -1", "outstanding -1", "flow timeout", "timeout 24h0m0.000000001s",
		"linger -1ns", "receive buffer 0",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in:\n%v", want, err)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*ClashConfig)
		want   string // part of the error; empty: valid
	}{
		{"cross", func(c *ClashConfig) { c.Mode = ModeCross }, ""},
		{"cross needs two", func(c *ClashConfig) { c.Mode, c.Threads = ModeCross, 1 }, "one for each end"},
		{"reply of one packet", func(c *ClashConfig) { c.Mode, c.Burst = ModeReply, 1 }, "one for each end"},
		{"cross with echo", func(c *ClashConfig) { c.Mode, c.Echo = ModeCross, true }, "both ends send already"},
		{"cross unbounded", func(c *ClashConfig) { c.Mode, c.Outstanding = ModeCross, 0 }, "must be bounded"},
		{"twins of one socket", func(c *ClashConfig) { c.Sockets = 2 }, "only mode reuseport"},
		{"more twins than threads", func(c *ClashConfig) { c.Mode, c.Threads, c.Sockets = ModeReuseport, 2, 3 }, "sockets 3"},
		{"spacing", func(c *ClashConfig) { c.Spacing = time.Millisecond }, ""},
		{"spacing in one call", func(c *ClashConfig) { c.Mode, c.Spacing = ModeSendmmsg, 1 }, "sends all in one call"},
		{"negative spacing", func(c *ClashConfig) { c.Spacing = -1 }, "spacing"},
		{"negative duration", func(c *ClashConfig) { c.Duration = -1 }, "duration"},
		{"receiver of another family", func(c *ClashConfig) { c.ReceiveAt = netip.MustParseAddr("::1") },
			"different families"},
		{"as many flows as ports", func(c *ClashConfig) { c.Flows = c.Capacity() }, ""},
		{"more flows than ports", func(c *ClashConfig) { c.Flows = c.Capacity() + 1 }, "name 2 or more source addresses"},
		{"two sources carry them", func(c *ClashConfig) { c.Flows = c.Capacity() + 1; c.Sources = twoSources }, ""},
		{"more threads than packets", func(c *ClashConfig) { c.Threads = c.Burst + 1 }, "nothing to send"},
		{"sendmmsg from several", func(c *ClashConfig) { c.Mode, c.Threads = ModeSendmmsg, 2 }, "sends from one"},
		{"one twin", func(c *ClashConfig) { c.Mode, c.Threads = ModeReuseport, 1 }, "no twins"},
		{"a burst of one for twins", func(c *ClashConfig) { c.Mode, c.Burst = ModeReuseport, 1 }, "no twins"},
		{"echo without bound", func(c *ClashConfig) { c.Echo, c.Outstanding = true, 0 }, "sockets open"},
		{"no bound without echo", func(c *ClashConfig) { c.Outstanding = 0 }, ""},
		{"linger as long as everything", func(c *ClashConfig) { c.Linger = c.Timeout }, "linger"},
		{"echo requests", func(c *ClashConfig) { c.Protocol = ProtocolICMP }, ""},
		{"echo requests from both ends", func(c *ClashConfig) { c.Protocol, c.Mode = ProtocolICMP, ModeCross },
			"goes one way"},
		{"another protocol", func(c *ClashConfig) { c.Protocol = "sctp" }, `protocol "sctp"`},
		{"backends", func(c *ClashConfig) { c.Backends = []netip.Addr{c.Target} }, ""},
		{"backends with echo", func(c *ClashConfig) { c.Backends, c.Echo = []netip.Addr{c.Target}, true },
			"several backends"},
		{"backend of another family", func(c *ClashConfig) { c.Backends = twoSources; c.Target = netip.IPv6Loopback() },
			"different families"},
		{"no linger", func(c *ClashConfig) { c.Linger = 0 }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultClash()
			tt.change(&cfg)
			err := cfg.Validate()
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestChooseThreads(t *testing.T) {
	tests := []struct {
		mode                 Mode
		threads, burst, cpus int
		want                 int
	}{
		{ModeThreads, 0, 4, 2, 2},
		{ModeThreads, 0, 4, 16, 4},
		{ModeThreads, 3, 4, 2, 3},
		{ModeThreads, 0, 1024, 512, MaxThreads},
		{ModeReuseport, 0, 4, 1, 2},
		{ModeSendmmsg, 0, 4, 16, 1},
	}
	for _, tt := range tests {
		cfg := ClashConfig{Mode: tt.mode, Threads: tt.threads, Burst: tt.burst}
		if got := cfg.chooseThreads(tt.cpus); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestConfigJSONReadsLikeFlags(t *testing.T) {
	cfg := DefaultClash()
	cfg.Pace, cfg.Linger = Pace{250}, 1500*time.Millisecond
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"target": "127.0.0.1", "pace": "rate:250", "flow_timeout": "50ms", "linger": "1.5s", "timeout": "1m0s",
		"mode": "threads",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if v, ok := got["allow_target"]; ok {
		t.Errorf("allow_target is %v though none was given", v)
	}
}
