package kernelfacts_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// machine makes a root folder of files and their contents.
func machine(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func noPrograms(_ context.Context, name string, _ ...string) ([]byte, error) {
	return nil, errors.New(name + ": not here")
}

func TestReadHost(t *testing.T) {
	root := machine(map[string]string{
		"etc/os-release":                             "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n",
		"proc/sys/kernel/osrelease":                  "6.1.0-28-amd64\n",
		"proc/sys/kernel/version":                    "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)\n",
		"proc/modules":                               "nf_conntrack 212992 3 nf_nat,nft_ct,xt_MASQUERADE, Live 0x0000000000000000\n",
		"lib/modules/6.1.0-28-amd64/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
		"lib/modules/6.1.0-28-amd64/modules.dep":     "kernel/net/netfilter/nfnetlink_queue.ko.xz: kernel/net/netfilter/nfnetlink.ko.xz\n",
		"proc/self/ns/user":                          "",
		"proc/sys/kernel/unprivileged_userns_clone":  "1\n",
		"proc/sys/user/max_user_namespaces":          "15000\n",
		"proc/sys/net/netfilter/nf_conntrack_max":    "262144\n",
		"proc/sys/net/netfilter/nf_conntrack_count":  "seven\n",
	})
	h := kernelfacts.ReadHost(t.Context(), root, noPrograms)
	if b := h.Kernel.Value; h.Kernel.Err != nil || b.Version != kernelfacts.V(6, 1, 119) || !b.Exact || b.Distributor != "Debian" || b.Preemption != "PREEMPT_DYNAMIC" {
		t.Errorf("kernel %+v, %v", b, h.Kernel.Err)
	}
	if d := h.Distribution.Value; d.ID != "debian" || d.Version != "12" || !strings.HasPrefix(d.Name, "Debian GNU") {
		t.Errorf("distribution %+v, %v", d, h.Distribution.Err)
	}
	if c := h.Conntrack; c.Max.Value != 262144 || c.Max.Err != nil || c.Count.Err == nil || !errors.Is(c.Events.Err, fs.ErrNotExist) {
		t.Errorf("conntrack %+v", c)
	}
	if h.UserNamespaces.Access != kernelfacts.UserNamespacesOpen {
		t.Errorf("user namespaces %+v", h.UserNamespaces)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"version":"6.1.119"`, `"nf_conntrack_max":262144`, `"nf_conntrack_events":{"unreadable":"could not read: open `,
		`"kmod":{"unreadable":"could not read the version of modprobe: modprobe: not here`, `{"name":"nf_conntrack","state":"loaded"`,
		`{"name":"nfnetlink_queue","state":"loadable"`, `{"name":"xt_NFQUEUE","state":"absent"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, text)
		}
	}
}

// Where nothing can be read, everything says why and nothing is known.
func TestReadHostOfAnEmptyMachine(t *testing.T) {
	h := kernelfacts.ReadHost(t.Context(), fstest.MapFS{}, noPrograms)
	for what, err := range map[string]error{
		"distribution": h.Distribution.Err, "kernel": h.Kernel.Err, "changelog": h.Changelog.Err, "kmod": h.Kmod.Err,
		"events": h.Conntrack.Events.Err, "buckets": h.Conntrack.Buckets.Err,
	} {
		if err == nil {
			t.Errorf("%s was read from nothing", what)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s is no part of a sentence: %v", what, err)
		}
	}
	for _, m := range h.Modules {
		if m.State != kernelfacts.ModuleUnknown || m.Reason == "" || strings.Contains(m.Reason, "\n") {
			t.Errorf("module %+v", m)
		}
	}
	if _, err := json.Marshal(h); err != nil {
		t.Error(err)
	}
}

func TestReadHostOfThisMachine(t *testing.T) {
	h := kernelfacts.ReadHost(t.Context(), os.DirFS("/"), kernelfacts.Run)
	release, err := kernelfacts.Release()
	if err != nil {
		t.Fatal(err)
	}
	if h.Kernel.Err != nil || h.Kernel.Value.Release != release {
		t.Errorf("kernel %+v, %v, want %s", h.Kernel.Value, h.Kernel.Err, release)
	}
	if got := len(kernelfacts.Assess(h)); got != len(kernelfacts.Facts()) {
		t.Errorf("%d findings", got)
	}
}

func TestDistribution(t *testing.T) {
	for _, c := range []struct {
		files    map[string]string
		id, name string
	}{
		{map[string]string{"etc/os-release": "ID='alpine'\nPRETTY_NAME='Alpine Linux v3.20'"}, "alpine", "Alpine Linux v3.20"},
		{map[string]string{"usr/lib/os-release": "ID=fedora\n# PRETTY_NAME=no\n"}, "fedora", ""},
		{map[string]string{"etc/os-release": "ID=\"rhel\"\nPRETTY_NAME=\"Red \\\"Hat\\\"\"\n"}, "rhel", `Red "Hat"`},
	} {
		if d := kernelfacts.ReadDistribution(machine(c.files)); d.Err != nil || d.Value.ID != c.id || d.Value.Name != c.name {
			t.Errorf("%v: %+v", c.files, d)
		}
	}
}

func TestModules(t *testing.T) {
	const release = "6.1.0"
	const folder = "lib/modules/" + release
	for _, c := range []struct {
		name  string
		files map[string]string
		want  kernelfacts.ModuleState // of xt_NFQUEUE
	}{
		{"loaded", map[string]string{"proc/modules": "xt_NFQUEUE 16384 0 - Live 0x0"}, kernelfacts.ModuleLoaded},
		{"loading", map[string]string{"proc/modules": "xt_NFQUEUE 16384 0 - Loading 0x0"}, kernelfacts.ModuleChanging},
		{"config.gz", map[string]string{"proc/config.gz": packed(t, "CONFIG_NETFILTER_XT_TARGET_NFQUEUE=y\n")}, kernelfacts.ModuleBuiltIn},
		{"config not set", map[string]string{"proc/config.gz": packed(t, "# CONFIG_NETFILTER_XT_TARGET_NFQUEUE is not set\n")}, kernelfacts.ModuleAbsent},
		{"config of /boot", map[string]string{"boot/config-" + release: "CONFIG_NETFILTER_XT_TARGET_NFQUEUE=m\n"}, kernelfacts.ModuleLoadable},
		{"config that is not packed", map[string]string{"proc/config.gz": "CONFIG_NETFILTER_XT_TARGET_NFQUEUE=y\n"}, kernelfacts.ModuleUnknown},
		{"builtin", map[string]string{folder + "/modules.builtin": "kernel/net/netfilter/xt_NFQUEUE.ko\n"}, kernelfacts.ModuleBuiltIn},
		{"file", map[string]string{folder + "/modules.dep": "kernel/net/netfilter/xt_NFQUEUE.ko.zst: kernel/net/netfilter/x_tables.ko.zst\n"}, kernelfacts.ModuleLoadable},
		{"neither", map[string]string{folder + "/modules.dep": "", folder + "/modules.builtin": ""}, kernelfacts.ModuleAbsent},
		{"of another kernel", map[string]string{"lib/modules/5.0/modules.builtin": "kernel/net/netfilter/xt_NFQUEUE.ko\n"}, kernelfacts.ModuleUnknown},
		{"folder of sysfs", map[string]string{"sys/module/xt_NFQUEUE/parameters/x": "1"}, kernelfacts.ModuleBuiltIn},
		{"live in sysfs", map[string]string{"sys/module/xt_NFQUEUE/initstate": "live\n"}, kernelfacts.ModuleLoaded},
		{"coming in sysfs", map[string]string{"sys/module/xt_NFQUEUE/initstate": "coming\n"}, kernelfacts.ModuleChanging},
		{"the race", map[string]string{
			"sys/module/xt_NFQUEUE/holders/x": "", "boot/config-" + release: "CONFIG_NETFILTER_XT_TARGET_NFQUEUE=m\n",
		}, kernelfacts.ModuleChanging},
	} {
		modules := kernelfacts.ReadModules(machine(c.files), release)
		if last := modules[len(modules)-1]; last.Name != "xt_NFQUEUE" || last.State != c.want || last.Reason == "" {
			t.Errorf("%s: %+v, want %s", c.name, last, c.want)
		}
	}
}

func TestKmod(t *testing.T) {
	for _, c := range []struct {
		program, says string
		version       int
		want          kernelfacts.Status
	}{
		{"modprobe", "kmod version 18\n-XZ -ZLIB -EXPERIMENTAL\n", 18, kernelfacts.Affected},
		{"modprobe", "kmod version 19\n", 19, kernelfacts.Affected},
		{"modprobe", "kmod version 20\n+XZ +ZLIB\n", 20, kernelfacts.Fixed},
		{"kmod", "kmod version 30\n+ZSTD\n", 30, kernelfacts.Fixed},
		{"modprobe", "module-init-tools version 3.9\n", 0, kernelfacts.Unknown},
		{"modprobe", "BusyBox v1.36.1 (2023-11-07 18:53:09 UTC) multi-call binary.\n", 0, kernelfacts.Unknown},
		{"insmod", "", 0, kernelfacts.Unknown},
	} {
		k := kernelfacts.ReadKmod(t.Context(), func(_ context.Context, name string, _ ...string) ([]byte, error) {
			if name != c.program {
				return nil, errors.New(name + ": not here")
			}
			return []byte(c.says), nil
		})
		f := kernelfacts.AssessKmod(k)
		if k.Value.Version != c.version || f.Status != c.want || f.Reason == "" {
			t.Errorf("%q: version %d, %s (%s), want %d, %s", c.says, k.Value.Version, f.Status, f.Reason, c.version, c.want)
		}
	}
}

func TestUserNamespaces(t *testing.T) {
	const (
		ns       = "proc/self/ns/user"
		clone    = "proc/sys/kernel/unprivileged_userns_clone"
		most     = "proc/sys/user/max_user_namespaces"
		apparmor = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	)
	for _, c := range []struct {
		files map[string]string
		want  kernelfacts.UserNamespaceAccess
	}{
		{map[string]string{ns: "", most: "100"}, kernelfacts.UserNamespacesOpen},
		{map[string]string{ns: "", most: "0"}, kernelfacts.UserNamespacesClosed},
		{map[string]string{ns: "", most: "100", clone: "0"}, kernelfacts.UserNamespacesClosed},
		{map[string]string{ns: "", most: "100", clone: "1"}, kernelfacts.UserNamespacesOpen},
		{map[string]string{ns: "", most: "100", clone: "1", apparmor: "1"}, kernelfacts.UserNamespacesRestricted},
		{map[string]string{ns: "", most: "100", clone: "1", apparmor: "0"}, kernelfacts.UserNamespacesOpen},
		{map[string]string{ns: "", most: "0", apparmor: "1"}, kernelfacts.UserNamespacesClosed},
		{map[string]string{most: "100"}, kernelfacts.UserNamespacesClosed},
		{map[string]string{ns: "", most: "many"}, kernelfacts.UserNamespacesUnknown},
	} {
		if got := kernelfacts.ReadUserNamespaces(machine(c.files)); got.Access != c.want || got.Reason == "" {
			t.Errorf("%v: %+v, want %s", c.files, got, c.want)
		}
	}
}

// The settings are those of the thread's namespace, not of the process's.
func TestConntrackSettingsAreTheThreads(t *testing.T) {
	first, second := testkit.Namespace(t), newNetNS(t)
	const name = "netfilter/nf_conntrack_udp_timeout"
	if err := errors.Join(first.SetSysctl(name, "11"), second.SetSysctl(name, "23")); err != nil {
		t.Fatal(err)
	}
	inFirst := kernelfacts.ReadConntrack(os.DirFS("/"))
	var inSecond kernelfacts.ConntrackSettings
	if err := second.Do(func() error { inSecond = kernelfacts.ReadConntrack(os.DirFS("/")); return nil }); err != nil {
		t.Fatal(err)
	}
	if a, b := inFirst.UDPTimeout, inSecond.UDPTimeout; a.Err != nil || b.Err != nil || a.Value != 11 || b.Value != 23 {
		t.Errorf("%s is %+v in the one and %+v in the other, want 11 and 23", name, a, b)
	}
	for name, r := range map[string]kernelfacts.Reading[uint64]{
		"max": inFirst.Max, "count": inFirst.Count, "buckets": inFirst.Buckets, "events": inFirst.Events,
		"udp_timeout_stream": inFirst.UDPTimeoutStream,
	} {
		if r.Err != nil {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
	if inFirst.Max.Value == 0 || inFirst.Buckets.Value == 0 {
		t.Errorf("max %d, buckets %d", inFirst.Max.Value, inFirst.Buckets.Value)
	}
}

func newNetNS(t *testing.T) *netlab.NetNS {
	t.Helper()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}
