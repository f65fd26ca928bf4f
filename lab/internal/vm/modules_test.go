package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// moduleTree is a small /lib/modules/RELEASE.
func moduleTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "6.9.0-test")
	// modules.dep names what a file needs with the last to be loaded first.
	files := map[string]string{
		"modules.dep": "kernel/net/top.ko: kernel/net/middle-one.ko.gz kernel/lib/bottom.ko\n" +
			"kernel/net/middle-one.ko.gz: kernel/lib/bottom.ko\nkernel/lib/bottom.ko:\nkernel/other.ko: kernel/lib/bottom.ko\n",
		"modules.builtin":       "kernel/net/inside.ko\n",
		"modules.alias":         "alias net-pf-16-proto-12 middle_one\n",
		"kernel/net/top.ko":     "top",
		"kernel/lib/bottom.ko":  "bottom",
		"kernel/other.ko":       "other",
		"kernel/net/middle-one": "middle",
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plain := filepath.Join(dir, "kernel/net/middle-one")
	if out, err := exec.Command("gzip", "-S", ".ko.gz", plain).CombinedOutput(); err != nil {
		t.Fatalf("gzip: %v: %s", err, out)
	}
	return dir
}

func TestModuleOrder(t *testing.T) {
	tree, err := OpenTree(moduleTree(t))
	if err != nil {
		t.Fatal(err)
	}
	if tree.Release() != "6.9.0-test" {
		t.Errorf("release %q", tree.Release())
	}
	for _, test := range []struct{ names, want string }{
		{"top", "kernel/lib/bottom.ko kernel/net/middle-one.ko.gz kernel/net/top.ko"},
		{"other top", "kernel/lib/bottom.ko kernel/other.ko kernel/net/middle-one.ko.gz kernel/net/top.ko"},
		{"middle-one middle_one", "kernel/lib/bottom.ko kernel/net/middle-one.ko.gz"},
		{"inside", ""},
	} {
		order, err := tree.Order(strings.Fields(test.names)...)
		if err != nil || strings.Join(order, " ") != test.want {
			t.Errorf("%s: %v, %v, want %s", test.names, order, err, test.want)
		}
	}
	if _, err := tree.Order("top", "absent", "gone"); err == nil ||
		!strings.Contains(err.Error(), "6.9.0-test has no module absent, gone") {
		t.Errorf("absent modules: %v", err)
	}
	if !tree.Has("middle_one") || !tree.Has("inside") || tree.Has("absent") {
		t.Error("Has is wrong")
	}
	if _, err := OpenTree(t.TempDir()); err == nil || !strings.Contains(err.Error(), "depmod") {
		t.Errorf("a folder without an index: %v", err)
	}
}

func TestModulesInTheArchive(t *testing.T) {
	var b bytes.Buffer
	archive := newCPIO(&b)
	load, err := writeModules(archive, &Config{Modules: moduleTree(t), ModuleNames: []string{"middle_one"},
		LoadableNames: []string{"top"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := archive.close(); err != nil {
		t.Fatal(err)
	}
	const dir = "/lib/modules/6.9.0-test/"
	if want := []string{dir + "kernel/lib/bottom.ko", dir + "kernel/net/middle-one.ko"}; !slices.Equal(load, want) {
		t.Errorf("to load: %v, want %v", load, want)
	}
	found := map[string]string{}
	for _, e := range unpackCPIO(t, b.Bytes()) {
		found["/"+e.name] = string(e.body)
	}
	for name, text := range map[string]string{"kernel/net/middle-one.ko": "middle", "kernel/net/top.ko": "top",
		"modules.alias": "alias net-pf-16-proto-12 middle_one\n"} {
		if found[dir+name] != text {
			t.Errorf("%s has %q, want %q", name, found[dir+name], text)
		}
	}
	if _, ok := found[dir+"kernel/other.ko"]; ok {
		t.Error("a module is there that nobody asked for")
	}
	// modprobe looks for what the index names.
	if packed, ok := found[dir+"kernel/net/middle-one.ko.gz"]; !ok || packed == "middle" {
		t.Errorf("modprobe would not find the packed module: %q", packed)
	}
}

func TestModulesOf(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"boot", "lib/modules/6.1.0-9", "lib/modules/7.3"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "modules.dep"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(root, "boot/modules.dep")); err != nil {
		t.Fatal(err)
	}
	for kernel, want := range map[string]string{
		"boot/vmlinuz-6.1.0-9": "lib/modules/6.1.0-9", "lib/modules/7.3/vmlinuz": "lib/modules/7.3",
		"boot/vmlinuz-5": "", "bzImage": "",
	} {
		if want != "" {
			want = filepath.Join(root, want)
		}
		if got := ModulesOf(filepath.Join(root, kernel)); got != want {
			t.Errorf("%s: %q, want %q", kernel, got, want)
		}
	}
}
