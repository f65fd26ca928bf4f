package trace

import (
	"bytes"
	_ "embed"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
)

//go:generate bpf/compile

//go:embed bpf/clash.bpf.o
var object []byte

// A target is a function of the kernel's and the programs for it.
type target struct {
	function string
	programs string // what the names of its programs begin with
}

var (
	resolver    = target{"nf_ct_resolve_clash", "resolver"}
	confirm     = target{"__nf_conntrack_confirm", "confirm"}
	reinjection = target{"nf_conntrack_update", "reinjection"}
)

// entry and exit are the names of a target's programs.
func (t target) entry(m Method) string { return t.programs + "_" + string(m) }

func (t target) exit(m Method) string {
	if m == Fentry {
		return t.programs + "_fexit"
	}
	return t.programs + "_kretprobe"
}

// registers says where a kprobe finds the first two arguments of a function and its result: byte offsets in the
// kernel's struct pt_regs.
type registers struct{ argument1, argument2, returned uint32 }

var registersOf = map[string]registers{
	"amd64": {argument1: 112, argument2: 104, returned: 80}, // di, si, ax
	"arm64": {argument1: 0, argument2: 8, returned: 0},      // x0, x1
}

// loadSpec reads the object and sets its variables for a trace.
func loadSpec(cfg Config) (*ebpf.CollectionSpec, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("read the BPF object: %w", err)
	}
	r := registersOf[runtime.GOARCH] // others have no kprobes here, see attach
	for name, value := range map[string]uint32{
		"only_netns": cfg.Netns, "argument_1": r.argument1, "argument_2": r.argument2, "returned": r.returned,
	} {
		v := spec.Variables[name]
		if v == nil {
			return nil, fmt.Errorf("the BPF object has no variable %s", name)
		}
		if err := v.Set(value); err != nil {
			return nil, fmt.Errorf("set %s in the BPF object: %w", name, err)
		}
	}
	ring := spec.Maps["clashes"]
	if ring == nil {
		return nil, fmt.Errorf("the BPF object has no map clashes")
	}
	ring.MaxEntries = uint32(cfg.Buffer)
	return spec, nil
}
