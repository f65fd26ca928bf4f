package policy

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/sets"
	"verdictd/internal/vocabulary"
)

func prefixSet(t testing.TB, list ...string) *sets.Prefixes {
	b := sets.NewPrefixes()
	add(t, b, list, func(s string) string { return s })
	return b.Build(time.Time{})
}

// Sets and interfaces change while packets are decided on, and limits are of all workers.
func TestSharedByWorkers(t *testing.T) {
	const workers, packets = 4, 5000
	set := &Set[sets.Prefixes]{Name: "s"}
	p := compiled(t, vocabulary.Accept,
		Rule{Action: vocabulary.Count, Match: Match{Source: Addresses{Sets: []*Set[sets.Prefixes]{set}}}},
		Rule{Action: vocabulary.Count, Match: Match{InterfacesIn: []string{"wg*"}}},
		Rule{Action: vocabulary.Drop, Limit: Limit{Count: 1000, Interval: time.Second, Burst: 100, Per: PerSource}},
	)
	even, odd := prefixSet(t, "192.0.2.0/25"), prefixSet(t, "192.0.2.1")
	var group sync.WaitGroup
	dropped := make([]int, workers)
	for i := range workers {
		group.Go(func() {
			d, v := p.NewDecider(), Verdict{}
			in := inputOf(t, "192.0.2.1", "198.51.100.2", 53)
			in.InDev, in.Now = 3, 1
			for range packets {
				if d.Decide(in, &v); v.Action == vocabulary.Drop {
					dropped[i]++
				}
			}
		})
	}
	for i := range 200 {
		set.Store([]*sets.Prefixes{even, odd, nil}[i%3])
		p.SetDevices(map[uint32]string{3: fmt.Sprint([]string{"wg", "eth"}[i%2], i)})
	}
	group.Wait()
	sum := 0
	for _, n := range dropped {
		sum += n
	}
	if sum != 100 {
		t.Errorf("%d packets passed a limit of 100 at once, as %v", sum, dropped)
	}
}

func TestHits(t *testing.T) {
	a, b := &Set[sets.Prefixes]{Name: "a"}, &Set[sets.Prefixes]{Name: "b"}
	a.Store(prefixSet(t, "192.0.2.0/24"))
	b.Store(prefixSet(t, "192.0.2.1"))
	in := func(s ...*Set[sets.Prefixes]) Addresses { return Addresses{Sets: s} }
	p := compiled(t, vocabulary.Accept,
		Rule{Action: vocabulary.Drop, Match: Match{Source: in(a), DestinationPorts: portList(1, 1)}},
		Rule{Action: vocabulary.Count, Match: Match{Any: []Match{{Source: in(a)}, {Destination: in(a)}}, Source: in(a)}},
		Rule{Action: vocabulary.Drop, Match: Match{Not: &Match{Source: in(b)}}},
	)
	d, v := p.NewDecider(), Verdict{}
	hits := func() string { return fmt.Sprint(p.Sets(), d.Hits()) }
	for _, step := range []struct{ src, want string }{
		{"192.0.2.1", "[a b] [1 0]"},    // once, by the rule that counts
		{"192.0.2.2", "[a b] [2 0]"},    // and that b has it not is no hit
		{"198.51.100.1", "[a b] [2 0]"}, //
	} {
		packet := inputOf(t, step.src, "198.51.100.2", 53)
		d.Decide(packet, &v)
		d.Explain(packet)
		if got := hits(); got != step.want {
			t.Errorf("after %s: %s, want %s", step.src, got, step.want)
		}
	}
	b.Store(prefixSet(t, "198.51.100.0/24"))
	if d.Decide(inputOf(t, "198.51.100.1", "198.51.100.2", 53), &v); v.Action != vocabulary.Accept {
		t.Error("a set's new content is not looked into")
	}
}

// taken is how many packets a limit lets pass at once.
func taken(p *Policy, inputs ...*Input) (n []int) {
	d, v := p.NewDecider(), Verdict{}
	n = make([]int, len(inputs))
	for range 50 {
		for i, in := range inputs {
			if d.Decide(in, &v); v.Action == vocabulary.Drop {
				n[i]++
			}
		}
	}
	return n
}

func TestLimitsGoOn(t *testing.T) {
	rule := Rule{Name: "x", Action: vocabulary.Drop, Limit: Limit{Count: 10, Interval: time.Second}}
	in := inputOf(t, "192.0.2.1", "198.51.100.2", 53)
	first := compiled(t, vocabulary.Accept, Rule{Name: "before", Match: Match{Protocols: []uint8{6}}}, rule)
	if got := taken(first, in); got[0] != 10 {
		t.Fatalf("%d packets", got[0])
	}
	again := func(change func(r *Rule)) int {
		r := rule
		change(&r)
		p, err := Compile(Config{Rules: []Rule{r}}, first)
		if err != nil {
			t.Fatal(err)
		}
		return taken(p, in)[0]
	}
	for _, test := range []struct {
		name   string
		change func(r *Rule)
		want   int
	}{
		{"as it was", func(*Rule) {}, 0},
		{"another match", func(r *Rule) { r.Match.Protocols = []uint8{17} }, 0},
		{"another rate", func(r *Rule) { r.Limit.Count = 20 }, 20},
		{"another name", func(r *Rule) { r.Name = "y" }, 10},
		{"no name", func(r *Rule) { r.Name = "" }, 10},
	} {
		if got := again(test.change); got != test.want {
			t.Errorf("%s: %d packets, want %d", test.name, got, test.want)
		}
	}
}

// Rules with one name and one limit have a bucket each, before and behind a reload.
func TestLimitsOfOneName(t *testing.T) {
	twice := func() (rules []Rule) {
		for _, protocol := range []uint8{17, 6} {
			rules = append(rules, Rule{
				Name: "x", Action: vocabulary.Drop, Match: Match{Protocols: []uint8{protocol}}, Limit: Limit{Count: 10, Interval: time.Second},
			})
		}
		return rules
	}
	udp, tcp := inputOf(t, "192.0.2.1", "198.51.100.2", 53), inputOf(t, "192.0.2.1", "198.51.100.2", 53)
	tcp.View.Protocol = 6
	first := compiled(t, vocabulary.Accept, twice()...)
	if got := taken(first, udp, tcp); !slices.Equal(got, []int{10, 10}) {
		t.Errorf("%v packets", got)
	}
	second, err := Compile(Config{Rules: twice()}, first)
	if err != nil {
		t.Fatal(err)
	}
	if got := taken(second, udp, tcp); got[0]+got[1] != 10 {
		t.Errorf("%v packets behind a reload: one of them goes on, the other is new", got)
	}
}

func TestLimitsPer(t *testing.T) {
	a, b, c := inputOf(t, "192.0.2.1", "198.51.100.2", 53), inputOf(t, "192.0.2.200", "198.51.100.2", 53), inputOf(t, "192.0.2.1", "198.51.100.3", 54)
	for i, in := range []*Input{a, b, c} {
		in.Name = flows.Result{State: names.Known, Protocol: flows.DNS, Name: []byte([]string{"x.example.org", "y.example.org", "example.com"}[i])}
	}
	match := Match{Names: listed("example.org", "example.com")}
	for _, test := range []struct {
		limit Limit
		match Match
		want  []int // of a, b and c, in turns
	}{
		{Limit{Per: PerRule}, match, []int{2, 2, 2}},
		{Limit{Per: PerSource}, match, []int{3, 6, 3}},
		{Limit{Per: PerSource, IPv4: 24}, match, []int{2, 2, 2}},
		{Limit{Per: PerDestination}, match, []int{3, 3, 6}},
		{Limit{Per: PerEntry}, match, []int{3, 3, 6}},
		{Limit{Per: PerEntry}, Match{Any: []Match{{Source: prefixList("192.0.2.1/32")}, {Source: prefixList("192.0.2.0/24")}}}, []int{3, 6, 3}},
		{Limit{Per: PerEntry}, Match{DestinationPorts: portList(50, 60)}, []int{3, 3, 6}},
		{Limit{Per: PerEntry}, Match{Protocols: []uint8{17}}, []int{2, 2, 2}},
	} {
		test.limit.Count, test.limit.Interval = 6, time.Second
		got := taken(compiled(t, vocabulary.Accept, Rule{Action: vocabulary.Drop, Match: test.match, Limit: test.limit}), a, b, c)
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v with %+v: %v, want %v", test.limit, test.match, got, test.want)
		}
	}
}

func TestInterfaces(t *testing.T) {
	p := compiled(t, vocabulary.Accept,
		Rule{Action: vocabulary.Drop, Match: Match{InterfacesIn: []string{"wg*", "lo"}}},
		Rule{Action: vocabulary.Reject, Match: Match{Not: &Match{InterfacesOut: []string{"*"}}}},
	)
	d, v := p.NewDecider(), Verdict{}
	decide := func(inDev, outDev uint32) vocabulary.Action {
		in := inputOf(t, "192.0.2.1", "198.51.100.2", 53)
		in.InDev, in.OutDev = inDev, outDev
		d.Decide(in, &v)
		return v.Action
	}
	check := func(inDev, outDev uint32, want vocabulary.Action) {
		t.Helper()
		if got := decide(inDev, outDev); got != want {
			t.Errorf("from %d to %d: %v, want %v", inDev, outDev, got, want)
		}
	}
	check(1, 2, vocabulary.Reject) // nobody has told yet
	p.SetDevices(map[uint32]string{1: "lo", 2: "eth0", 3: "wg7"})
	check(1, 2, vocabulary.Drop)
	check(2, 2, vocabulary.Accept)
	check(3, 2, vocabulary.Drop)
	check(0, 2, vocabulary.Accept)
	check(2, 0, vocabulary.Reject)
	p.SetDevices(map[uint32]string{2: "wg0", 3: "renamed"})
	check(2, 3, vocabulary.Drop)
	check(3, 3, vocabulary.Accept)
	check(3, 1, vocabulary.Reject)
}
