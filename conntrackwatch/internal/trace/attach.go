package trace

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// attach makes the maps, and attaches the programs of the first of the candidates that works, and of re-injection.
func (t *Tracer) attach(cfg Config, spec *ebpf.CollectionSpec) error {
	onlyMaps := spec.Copy()
	clear(onlyMaps.Programs)
	t.types = btf.NewCache()
	maps, err := ebpf.NewCollectionWithOptions(onlyMaps, ebpf.CollectionOptions{Cache: t.types})
	if err != nil {
		return refused([]Attempt{{What: "make the trace's maps", Err: err}})
	}
	t.maps = maps

	// One function after the other: only the resolver's tells a clash from other drops.
	var attempts []Attempt
	for _, target := range []target{resolver, confirm} {
		if cfg.Function != "" && cfg.Function != target.function {
			continue
		}
		failed := t.attachTo(target, cfg.Method, spec)
		if failed == nil {
			t.attachReinjection(cfg.Method, spec)
			return nil
		}
		attempts = append(attempts, failed...)
	}
	return refused(attempts)
}

// attachReinjection is for kernels that have the function; for others a trace is complete without it.
func (t *Tracer) attachReinjection(method Method, spec *ebpf.CollectionSpec) {
	for _, a := range t.attachTo(reinjection, method, spec) {
		t.unprobed = errors.Join(t.unprobed, a)
	}
}

// attachTo tries the methods in turn. It returns why none worked, or nil.
func (t *Tracer) attachTo(target target, only Method, spec *ebpf.CollectionSpec) []Attempt {
	var attempts []Attempt
	for _, method := range []Method{Fentry, Kprobe} {
		if only != "" && only != method {
			continue
		}
		err := t.attachBy(target, method, spec)
		if err == nil {
			t.probes = append(t.probes, Probe{Function: target.function, Method: method})
			return nil
		}
		attempts = append(attempts, Attempt{What: Probe{target.function, method}.String(), Err: err})
	}
	return attempts
}

// attachBy loads and attaches a target's two programs, the exit's first: a call that began before is not in its map.
func (t *Tracer) attachBy(target target, method Method, spec *ebpf.CollectionSpec) (err error) {
	if _, ok := registersOf[runtime.GOARCH]; !ok && method == Kprobe {
		return fmt.Errorf("where %s has a function's arguments is not known here", runtime.GOARCH)
	}
	if err := checkSignature(target, t.types); err != nil {
		return err
	}
	two := spec.Copy()
	for name := range two.Programs {
		if name != target.entry(method) && name != target.exit(method) {
			delete(two.Programs, name)
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(two, ebpf.CollectionOptions{
		MapReplacements: t.maps.Maps,
		Cache:           t.types,
		Programs:        ebpf.ProgramOptions{ExtraRelocationTargets: moduleTypes(t.types)},
	})
	if err != nil {
		return err
	}
	defer coll.Close()

	var links []link.Link
	defer func() {
		if err != nil {
			for _, l := range links {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for _, name := range []string{target.exit(method), target.entry(method)} {
		l, err := attachProgram(target, method, coll.Programs[name], name == target.exit(method))
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		links = append(links, l)
	}
	t.links = append(t.links, links...)
	t.programs = append(t.programs, coll.DetachProgram(target.exit(method)), coll.DetachProgram(target.entry(method)))
	return nil
}

func attachProgram(target target, method Method, program *ebpf.Program, exit bool) (link.Link, error) {
	switch {
	case method == Fentry:
		return link.AttachTracing(link.TracingOptions{Program: program})
	case exit:
		return link.Kretprobe(target.function, program, nil)
	default:
		return link.Kprobe(target.function, program, nil)
	}
}

const module = "nf_conntrack"

// moduleTypes are those of nf_conntrack where it is a module with type information. The kernel's own have struct
// nf_conn too, as its flow dissector uses it (since 5.3); this is for those that differ.
func moduleTypes(types *btf.Cache) []*btf.Spec {
	spec, err := types.Module(module)
	if err != nil {
		return nil
	}
	return []*btf.Spec{spec}
}

// signatures are what the programs take the functions for: the structs that the arguments point to, "" for numbers.
var signatures = map[string][]string{
	resolver.function:    {"sk_buff", "nf_conntrack_tuple_hash", ""}, // since 5.6
	confirm.function:     {"sk_buff"},
	reinjection.function: {"net", "sk_buff"}, // since 4.18
}

// checkSignature refuses a function that has other arguments than the programs know. Where the kernel does not describe
// it, it is taken for what it was in all kernels since 5.10.
func checkSignature(target target, types *btf.Cache) error {
	kernel, err := types.Kernel()
	if err != nil {
		return nil //nolint:nilerr // loading the programs says it better
	}
	for _, spec := range append([]*btf.Spec{kernel}, moduleTypes(types)...) {
		var function *btf.Func
		if spec.TypeByName(target.function, &function) == nil {
			return compareSignature(function, signatures[target.function])
		}
	}
	return nil
}

func compareSignature(function *btf.Func, want []string) error {
	proto, ok := function.Type.(*btf.FuncProto)
	if !ok || len(proto.Params) != len(want) {
		return fmt.Errorf("%s takes other arguments than in the kernels that this program knows: %v", function.Name,
			function.Type)
	}
	for i, p := range proto.Params {
		name := ""
		if pointer, ok := btf.UnderlyingType(p.Type).(*btf.Pointer); ok {
			if s, ok := btf.UnderlyingType(pointer.Target).(*btf.Struct); ok {
				name = s.Name
			}
		}
		if name != want[i] {
			return fmt.Errorf("%s takes %s %v where the kernels that this program knows have a %s", function.Name, p.Name,
				p.Type, want[i])
		}
	}
	return nil
}
