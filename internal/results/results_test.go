package results

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestNamespaces(t *testing.T) {
	queued, plain := testkit.Namespace(t), testkit.Namespace(t)
	if err := queued.SetSysctl("ipv4/ip_local_port_range", "40000 41000"); err != nil {
		t.Fatal(err)
	}
	err := queued.Do(func() error {
		_, err := ruleset.Install(ruleset.Config{
			Table: "verdictd", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, Queues: 2,
			IPv4: true, Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{53},
		})
		return err // the rules go with the namespace
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadNamespaces(Place{"sender", queued.Path()}, Place{"router", plain.Path()},
		Place{"receiver", queued.Path()})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Role != "sender, receiver" || got[1].Role != "router" {
		t.Fatalf("%+v, want two namespaces, the first with two roles", got)
	}
	const ports = "net.ipv4.ip_local_port_range"
	if got[0].Sysctls[ports] != "40000 41000" || got[1].Sysctls[ports] == "40000 41000" {
		t.Errorf("%s is %q and %q: each namespace has its own", ports, got[0].Sysctls[ports], got[1].Sysctls[ports])
	}
	if len(got[0].Rules) != 1 || !strings.Contains(got[0].Rules[0], "to 0-1") {
		t.Errorf("rules %q, want the one that queues to 0-1", got[0].Rules)
	}
	if len(got[1].Rules) != 0 {
		t.Errorf("rules %q where there are none", got[1].Rules)
	}
}

func TestNoNamespace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	if _, err := ReadNamespaces(Place{"sender", path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want an error that names %s", err, path)
	}
}

func TestHost(t *testing.T) {
	h, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	release, err := kernelfacts.Release()
	if err != nil {
		t.Fatal(err)
	}
	if h.Kernel != release || h.Build == "" || h.CPUs < 1 {
		t.Errorf("%+v", h)
	}
	rmem, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Sysctls["net.core.rmem_max"]; got != strings.TrimSpace(string(rmem)) {
		t.Errorf("net.core.rmem_max %q, want %s", got, rmem)
	}
}

func TestDocument(t *testing.T) {
	h := &Header{Schema: Schema, Tool: "stress", Scenario: "clash", Command: []string{"stress", "clash"}}
	for name, result := range map[string]any{"fields": &struct{ Lost int }{3}, "none": struct{}{}} {
		b, err := Document(h, result)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got struct {
			Schema   int
			Scenario string
			Lost     int
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v in %s", name, err, b)
		}
		if got.Schema != Schema || got.Scenario != "clash" || name == "fields" && got.Lost != 3 {
			t.Errorf("%s: %s", name, b)
		}
	}
	if _, err := Document(h, []int{1}); err == nil || !strings.Contains(err.Error(), "[]int") {
		t.Errorf("%v for a result that is no object", err)
	}
}
