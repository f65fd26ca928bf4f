package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"

	"golang.org/x/sys/unix"
)

// mixOverLoopback is a short mix within one namespace, with packets longer than its MTU.
func mixOverLoopback(t *testing.T) (MixConfig, *netlab.NetNS) {
	t.Helper()
	ns := testkit.Namespace(t)
	cfg := aMix()
	if err := ns.SetMTU("lo", 1500); err != nil {
		t.Fatal(err)
	}
	for _, a := range append(append([]netip.Addr{cfg.Targets[0].Address.Addr(), cfg.Targets[2].Address.Addr()},
		cfg.Sources4...), cfg.Sources6...) {
		if err := ns.AddAddress("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
			t.Fatal(err)
		}
	}
	cfg.SenderNetns, cfg.ReceiverNetns, cfg.Duration = ns.Path(), ns.Path(), time.Second
	return cfg, ns
}

func TestMixArrives(t *testing.T) {
	cfg, _ := mixOverLoopback(t)
	res, err := RunMix(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Targets[0].ReceivedFrom; !slices.Equal(got, cfg.Sources4) {
		t.Errorf("flows came from %v, want %v", got, cfg.Sources4)
	}
	var sent, echoed uint64
	for i, r := range res.Targets {
		sent += r.Sent
		if cfg.Targets[i].Echo {
			echoed += r.Sent
		}
		if r.Sent == 0 || r.Lost() != 0 || r.Duplicated+r.Reordered+r.Corrupted+r.Foreign+r.SourcesChanged != 0 ||
			*r.ReceiverDropped != 0 {
			t.Errorf("%v: %+v", cfg.Targets[i].Address, r)
		}
	}
	if e := res.EchoCounts; res.EchoSent != echoed || e.Delivered != echoed || e.Duplicated+e.Reordered+e.Corrupted != 0 {
		t.Errorf("%d echoes of %d: %+v", res.EchoSent, echoed, e)
	}
	if len(res.SendErrors)+len(res.EchoErrors) != 0 {
		t.Errorf("refused: %v %v", res.SendErrors, res.EchoErrors)
	}
	planned := 0
	for _, f := range plan(cfg) {
		planned += len(f.packets)
	}
	if sent != uint64(planned) || res.Shape.Flows == 0 || res.Shape.Oversized == 0 {
		t.Errorf("%d packets of %d planned; %+v", sent, planned, res.Shape)
	}
}

// What a rule drops is lost: no more and no less, to the lossy target alone.
func TestMixAccountsForARule(t *testing.T) {
	cfg, ns := mixOverLoopback(t)
	filter, err := ns.DropAtRandom(netlab.HookOutput, 19, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Targets = append(cfg.Targets, MixTarget{Address: netip.AddrPortFrom(cfg.Targets[0].Address.Addr(), 19),
		Lossy: true})
	res, err := RunMix(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	dropped, err := filter.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res.Targets {
		if want := dropped * uint64(i/4); r.Lost() != want || r.Reordered+r.Duplicated != 0 {
			t.Errorf("%v: %d lost, want %d: %+v", cfg.Targets[i].Address, r.Lost(), want, r)
		}
	}
	if refused := res.SendErrors["EPERM"]; dropped == 0 || refused != dropped {
		t.Errorf("the rule dropped %d in OUTPUT, where %d sends were refused", dropped, refused)
	}
}

func TestMixInterrupted(t *testing.T) {
	cfg, ns := mixOverLoopback(t)
	cfg.Duration = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	var begun time.Time
	var stopping sync.WaitGroup
	stopping.Go(func() {
		defer cancel()
		_ = ns.Do(func() error {
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if n, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count"); err != nil || string(n) != "0\n" {
					return err
				}
			}
			return nil
		})
		begun = time.Now()
	})
	res, err := RunMix(ctx, cfg)
	stopping.Wait()
	if !errors.Is(err, ErrInterrupted) || res == nil || res.Shape.Flows == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if d := time.Since(begun); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
	for _, r := range res.Targets {
		if r.Lost() != 0 {
			t.Errorf("an interrupted run counts what was on its way as lost: %+v", r)
		}
	}
}

func TestMixValidates(t *testing.T) {
	cfg := MixConfig{Targets: []MixTarget{{Address: netip.MustParseAddrPort("8.8.8.8:7")},
		{Address: netip.MustParseAddrPort("192.0.2.1:7")}}, Linger: -1}
	_, err := RunMix(t.Context(), cfg)
	for _, want := range []string{"8.8.8.8", "192.0.2.1:7: no source", "rate 0", "duration 0s", "linger -1",
		"receive buffer 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q among the problems", err, want)
		}
	}
}

func TestMixConfigSurvivesJSON(t *testing.T) {
	cfg := aMix()
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var got MixConfig
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, cfg) {
		t.Errorf("%+v from %s (%v), want %+v", got, b, err, cfg)
	}
	if err := json.Unmarshal([]byte(`{"duration":"long","linger":"1s"}`), &got); err == nil {
		t.Error("a duration that is none")
	}
}

// TestAnswersAtAFullSocket: what the kernel drops at a flow's own socket is counted when that is closed.
func TestAnswersAtAFullSocket(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(1); err != nil { // the least there is
		t.Fatal(err)
	}
	const n = 1000
	for range n {
		if _, err := conn.WriteTo(make([]byte, 1000), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(file.Fd()))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	d := mixDirector{cfg: &MixConfig{Targets: []MixTarget{{Echo: true}}}}
	d.open = []*openFlow{{mixFlow: &mixFlow{}, fd: fd}}
	d.closeAll()
	if d.dropped == nil || *d.dropped == 0 || *d.dropped >= n {
		t.Errorf("%v dropped of %d, want most", d.dropped, n)
	}
	res := MixResult{EchoSent: n, EchoDropped: d.dropped}
	res.EchoCounts.Delivered = n - *d.dropped
	if v := res.Violations(); len(v) != 2 || !strings.Contains(v[1], "sockets that they came back to") {
		t.Errorf("%q", v)
	}
}
