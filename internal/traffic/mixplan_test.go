package traffic

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func aMix() MixConfig {
	at := netip.MustParseAddrPort
	return MixConfig{
		Targets: []MixTarget{
			{Address: at("192.0.2.1:7"), Echo: true}, {Address: at("192.0.2.1:9")},
			{Address: at("[2001:db8::1]:7"), Echo: true}, {Address: at("[2001:db8::1]:9")},
		},
		Sources4: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")},
		Sources6: []netip.Addr{netip.MustParseAddr("2001:db8:2::1")},
		Rate:     200, Duration: 30 * time.Second, Seed: 1, ReceiveBuffer: 1 << 20, Linger: 10 * time.Second,
	}
}

func plan(cfg MixConfig) (flows []*mixFlow) {
	p := newMixPlan(&cfg)
	for f, ok := p.flow(); ok; f, ok = p.flow() {
		flows = append(flows, f)
	}
	return flows
}

func TestMixPlanFollowsTheSeed(t *testing.T) {
	cfg := aMix()
	once, again := plan(cfg), plan(cfg)
	if !reflect.DeepEqual(once, again) {
		t.Error("one seed gives two plans")
	}
	cfg.Seed++
	if reflect.DeepEqual(once[:10], plan(cfg)[:10]) {
		t.Error("two seeds give one plan")
	}
}

func TestMixPlanKeepsItsBounds(t *testing.T) {
	cfg := aMix()
	var shape MixShape
	flows := plan(cfg)
	if n := len(flows); n < 5500 || n > 6500 {
		t.Errorf("%d flows in 30 s at 200 a second", n)
	}
	for i, f := range flows {
		shape.add(f, &cfg.Targets[f.target])
		if f.id != uint32(i) || i > 0 && f.start < flows[i-1].start || f.packets[0].at != f.start ||
			len(f.packets) > mixPackets {
			t.Fatalf("flow %d: %+v", i, f)
		}
		var seq [mixThreads]uint16
		pauses := 0
		for k, p := range f.packets {
			if p.seq != seq[p.lane] || p.size < mixSmallest || p.size > mixOversize || p.size > mixLargest && p.size < 1500 ||
				p.at >= cfg.Duration {
				t.Fatalf("flow %d, packet %d: %+v", i, k, p)
			}
			seq[p.lane]++
			if k == 0 {
				continue
			}
			switch gap := p.at - f.packets[k-1].at; {
			case gap >= mixMinPause && gap <= mixMaxPause:
				pauses++
			case gap < 0 || gap > mixMaxGap:
				t.Fatalf("flow %d, packet %d follows after %v", i, k, gap)
			}
		}
		if pauses > 1 || f.paused != (pauses == 1) {
			t.Errorf("flow %d: %d pauses, paused %v", i, pauses, f.paused)
		}
	}
	for name, n := range map[string]uint64{
		"IPv6": shape.IPv6, "echo": shape.Echo, "reused": shape.Reused, "paused": shape.Paused,
		"shared": shape.Shared, "settling": shape.Settling, "oversized": shape.Oversized,
	} {
		if n < 100 || name != "oversized" && n > shape.Flows-100 {
			t.Errorf("%s: %d of %d flows", name, n, shape.Flows)
		}
	}
}

// Two flows never hold one source at a time, and one that is used again soon is so for the same target: only then is it
// the former flow's tuple.
func TestMixPlanSources(t *testing.T) {
	cfg := aMix()
	type former struct {
		target int
		end    time.Duration
	}
	seen := map[netip.AddrPort]former{}
	for _, f := range plan(cfg) {
		if f.source.Addr().Is4() != cfg.Targets[f.target].Address.Addr().Is4() {
			t.Fatalf("flow %d: from %v to %v", f.id, f.source, cfg.Targets[f.target].Address)
		}
		before, used := seen[f.source]
		if used != f.reused {
			t.Fatalf("flow %d: source %v used before %v, and it says %v", f.id, f.source, used, f.reused)
		}
		if used && (before.target != f.target || before.end > f.start) {
			t.Fatalf("flow %d begins at %v with the source of %+v", f.id, f.start, before)
		}
		seen[f.source] = former{f.target, f.end()}
	}
}
