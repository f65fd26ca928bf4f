package observe

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// name gives a namespace a name, as `ip netns` does by a file.
func name(t *testing.T, file string, ns *netlab.NetNS) {
	t.Helper()
	_ = os.Remove(file)
	if ns == nil {
		return
	}
	if err := os.Symlink(ns.Path(), file); err != nil {
		t.Fatal(err)
	}
}

// scrape reads what Prometheus would, of one series.
func scrape(t *testing.T, set *Set, series string) (values map[string]float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(set))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values = map[string]float64{}
	for _, family := range families {
		if family.GetName() != series {
			continue
		}
		for _, m := range family.Metric {
			values[m.Label[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return values
}

// A namespace that is deleted is let go and down, and one that is made under its name is
// watched.
func TestMadeAnew(t *testing.T) {
	first, second := testkit.VethPair(t)
	file := filepath.Join(t.TempDir(), "x")
	name(t, file, first)
	set, err := OpenNamed([]netlab.NetNSName{{Name: "x", Path: file}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	s := set.Sources()[0]
	before := read(t, s)
	if up := scrape(t, set, "conntrackwatch_up"); up["x"] != 1 {
		t.Errorf("up: %v", up)
	}
	name(t, file, nil)
	if _, err := s.Read(); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "namespace x") {
		t.Errorf("error %v", err)
	}
	if s.ns != nil {
		t.Error("a namespace without a name is held")
	}
	if up := scrape(t, set, "conntrackwatch_up"); up["x"] != 0 || len(up) != 1 {
		t.Errorf("up: %v", up)
	}
	name(t, file, second)
	now := read(t, s)
	if now.Made == before.Made {
		t.Error("another namespace is taken for the same")
	}
	if f := Between(before, now); f.Backlog != nil || f.Clashes == nil || *f.Clashes != 0 {
		t.Errorf("%+v between two namespaces", f)
	}
	if up := scrape(t, set, "conntrackwatch_up"); up["x"] != 1 {
		t.Errorf("up: %v", up)
	}
	name(t, file, first) // without having been away
	if again := read(t, s); again.Made == now.Made {
		t.Error("a name that was given to another namespace still stands for the one before")
	}
}

// Listed namespaces come and go with the list, and each is there once.
func TestListed(t *testing.T) {
	first, second := testkit.VethPair(t)
	a, b := netlab.NetNSName{Name: "a", Path: first.Path()}, netlab.NetNSName{Name: "b", Path: second.Path()}
	none := netlab.NetNSName{Name: "none", Path: "/run/netns/nosuch"}
	listed := []netlab.NetNSName{a, none}
	var remarks bytes.Buffer
	set, err := OpenListed(func() ([]netlab.NetNSName, error) { return listed, nil }, &remarks)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	was := set.Sources()
	listed = []netlab.NetNSName{a, b, none}
	now := set.Sources()
	if len(was) != 1 || len(now) != 2 || now[0] != was[0] || now[1].Name != "b" {
		t.Errorf("%v, then %v", was, now)
	}
	listed = []netlab.NetNSName{b}
	if left := set.Sources(); len(left) != 1 || left[0] != now[1] {
		t.Errorf("%v are left", left)
	}
	if _, err := was[0].Read(); err == nil {
		t.Error("a namespace that is not listed any more is held")
	}
	listed = []netlab.NetNSName{{Name: "b", Path: first.Path()}}
	if other := set.Sources(); len(other) != 1 || other[0] == now[1] {
		t.Error("another namespace of the same name is taken for the one before")
	}
	if n := strings.Count(remarks.String(), "left out"); n != 1 {
		t.Errorf("what cannot be watched is said %d times:\n%s", n, &remarks)
	}
}
