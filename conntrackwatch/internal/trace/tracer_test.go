package trace

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func TestValidate(t *testing.T) {
	gib := 1 << 30 // no constant: twice of it is negative where an int has 32 bits
	for _, test := range []struct {
		cfg  Config
		part string // of the error; empty: none
	}{
		{Config{}, ""},
		{Config{Buffer: 1 << 16, Method: Kprobe, Function: "__nf_conntrack_confirm"}, ""},
		{Config{Buffer: 1 << 10}, "power of two"},
		{Config{Buffer: 3 << 16}, "power of two"},
		{Config{Buffer: -4096}, "power of two"},
		{Config{Buffer: 2 * gib}, "1 GiB"},
		{Config{Method: "uprobe"}, `"uprobe"`},
		{Config{Function: "nf_conntrack_in"}, "nf_conntrack_in"},
	} {
		err := test.cfg.Validate()
		if (err == nil) != (test.part == "") || err != nil && !strings.Contains(err.Error(), test.part) {
			t.Errorf("%+v: %v", test.cfg, err)
		}
		if err == nil {
			continue
		}
		if _, opened := Open(test.cfg); opened == nil || opened.Error() != err.Error() {
			t.Errorf("Open(%+v): %v", test.cfg, opened)
		}
	}
}

// What this machine allows: to trace, or a refusal that says by what.
func TestOpen(t *testing.T) {
	tracer, err := Open(Config{})
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		t.Log(err)
		if len(refused.By) == 0 || len(refused.Attempts) == 0 {
			t.Fatalf("by %q after %d attempts", refused.By, len(refused.Attempts))
		}
		for _, line := range refused.Tried() {
			t.Log(line)
			if strings.Contains(line, "\n") || strings.Contains(line, "MEMLOCK") {
				t.Errorf("tried: %q", line)
			}
		}
		user := os.Geteuid() != 0 || !strings.Contains(text(hostRoot(), "proc/self/uid_map"), "4294967295")
		if user && !strings.Contains(err.Error(), "lacks CAP_BPF") && !strings.Contains(err.Error(), "user namespace") {
			t.Errorf("an ordinary user is told: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v, which is no *Refused", err)
	}

	t.Log(tracer.Probes(), tracer.WithoutReinjection())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for err == nil { // clashes of the machine, if it has any just now
		_, err = tracer.Read(ctx)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the end Read returns %v", err)
	}
	if counts, err := tracer.Counts(); err != nil {
		t.Error(err)
	} else if counts.NoRoom > 0 {
		t.Errorf("%+v", counts)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

// The verifier accepts the programs for kprobes even where there are none to attach them to. Those of fentry it accepts
// only with the function that they are for.
func TestVerifier(t *testing.T) {
	spec, err := loadSpec(Config{Buffer: DefaultBuffer})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range spec.Programs {
		if p.Type != ebpf.Kprobe {
			delete(spec.Programs, name)
		}
	}
	if len(spec.Programs) != 6 {
		t.Fatalf("%d programs for kprobes", len(spec.Programs))
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{ExtraRelocationTargets: moduleTypes(btf.NewCache())},
	})
	var verifier *ebpf.VerifierError
	switch {
	case err == nil:
		coll.Close()
	case missingCapabilities(hostRoot()) != "" || lockdown(hostRoot()) == "confidentiality":
		t.Logf("not verified here, as BPF is refused: %v", err)
	case errors.As(err, &verifier):
		t.Errorf("%+v", verifier)
	default:
		t.Error(err)
	}
}
