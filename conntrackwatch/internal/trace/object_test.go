package trace

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// record is what bpf/compile wrote down.
type record struct{ source, object, compiler string }

func readRecord(t *testing.T, dir string) record {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "clash.bpf.sum"))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields[name] = value
	}
	return record{fields["source"], fields["object"], fields["compiler"]}
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func TestObjectIsMadeOfItsSource(t *testing.T) {
	source, err := os.ReadFile("bpf/clash.bpf.c")
	if err != nil {
		t.Fatal(err)
	}
	r := readRecord(t, "bpf")
	if r.source != sum(source) {
		t.Error("bpf/clash.bpf.c has changed since bpf/clash.bpf.o was made: run go generate ./conntrackwatch/internal/trace")
	}
	if r.object != sum(object) {
		t.Error("bpf/clash.bpf.o is not the one that bpf/compile wrote: run go generate ./conntrackwatch/internal/trace")
	}
	if r.compiler == "" {
		t.Error("bpf/clash.bpf.sum does not say which compiler made the object")
	}
}

// The same compiler makes the same object, byte for byte. Another one makes one with the same programs, maps and types.
func TestObjectCompilesToTheSame(t *testing.T) {
	for _, program := range []string{"clang", "llvm-strip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s to compile the BPF object with", program)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("bpf/compile", dir).CombinedOutput(); err != nil {
		t.Fatalf("bpf/compile: %v\n%s", err, out)
	}
	compiled, err := os.ReadFile(filepath.Join(dir, "clash.bpf.o"))
	if err != nil {
		t.Fatal(err)
	}
	if was, is := readRecord(t, "bpf").compiler, readRecord(t, dir).compiler; was != is {
		t.Logf("made by %s, here is %s: comparing what they mean", was, is)
		if got, want := contents(t, compiled), contents(t, object); !reflect.DeepEqual(got, want) {
			t.Errorf("compiled again it has %v, checked in %v: run go generate ./conntrackwatch/internal/trace", got, want)
		}
		return
	}
	if !bytes.Equal(compiled, object) {
		t.Error("bpf/clash.bpf.o is not what its source compiles to: run go generate ./conntrackwatch/internal/trace")
	}
}

// contents lists what user space relies on.
func contents(t *testing.T, object []byte) map[string]string {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for name, p := range spec.Programs {
		list["program "+name] = fmt.Sprint(p.Type, p.AttachType, p.AttachTo, p.License)
	}
	for name, m := range spec.Maps {
		list["map "+name] = fmt.Sprint(m.Type, m.KeySize, m.ValueSize, m.MaxEntries)
	}
	var clash *btf.Struct
	if err := spec.Types.TypeByName("clash", &clash); err != nil {
		t.Fatal(err)
	}
	list["clash"] = fmt.Sprintf("%+v", clash)
	return list
}

func TestProgramsAreThere(t *testing.T) {
	spec, err := loadSpec(Config{Netns: 7, Buffer: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []target{resolver, confirm, reinjection} {
		for _, method := range []Method{Fentry, Kprobe} {
			for _, name := range []string{target.entry(method), target.exit(method)} {
				p := spec.Programs[name]
				switch {
				case p == nil:
					t.Errorf("no program %s", name)
				case method == Fentry && (p.Type != ebpf.Tracing || p.AttachTo != target.function):
					t.Errorf("%s is of %v for %s", name, p.Type, p.AttachTo)
				case method == Kprobe && p.Type != ebpf.Kprobe:
					t.Errorf("%s is of %v", name, p.Type)
				}
			}
		}
		if signatures[target.function] == nil {
			t.Errorf("no signature of %s", target.function)
		}
	}
	if len(spec.Programs) != 12 {
		t.Errorf("%d programs, want 12: is one left that nothing attaches?", len(spec.Programs))
	}
	if got := spec.Maps["clashes"].MaxEntries; got != 1<<16 {
		t.Errorf("the buffer has %d bytes", got)
	}
	var netns uint32
	if err := spec.Variables["only_netns"].Get(&netns); err != nil || netns != 7 {
		t.Errorf("only_netns is %d, %v", netns, err)
	}
}

func TestSignatures(t *testing.T) {
	pointer := func(name string) btf.FuncParam {
		return btf.FuncParam{Name: name, Type: &btf.Pointer{Target: &btf.Const{Type: &btf.Struct{Name: name}}}}
	}
	number := btf.FuncParam{Name: "n", Type: &btf.Int{Name: "u32", Size: 4}}
	for _, test := range []struct {
		params []btf.FuncParam
		ok     bool
	}{
		{[]btf.FuncParam{pointer("sk_buff"), pointer("nf_conntrack_tuple_hash"), number}, true},
		{[]btf.FuncParam{pointer("net"), pointer("sk_buff"), number, pointer("nf_conntrack_tuple_hash")}, false}, // 4.7 to 5.5
		{[]btf.FuncParam{pointer("sk_buff"), number, number}, false},
		{[]btf.FuncParam{pointer("sk_buff"), pointer("nf_conntrack_tuple_hash"), pointer("net")}, false},
		{nil, false},
	} {
		f := &btf.Func{Name: resolver.function, Type: &btf.FuncProto{Params: test.params}}
		if err := compareSignature(f, signatures[resolver.function]); (err == nil) != test.ok {
			t.Errorf("%v: %v", test.params, err)
		}
	}
}
