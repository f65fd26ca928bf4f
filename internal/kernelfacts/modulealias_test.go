package kernelfacts_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"verdictd/internal/kernelfacts"
)

func TestFindModule(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	root := fstest.MapFS{
		"lib/modules/6.1/modules.alias":           text("# Aliases extracted from modules themselves.\nalias net-pf-16-proto-6 xfrm_user\nalias nfnetlink-subsys-3 nfnetlink-queue\n"),
		"lib/modules/6.1/modules.dep":             text("kernel/net/xfrm/xfrm_algo.ko:\nkernel/net/xfrm/xfrm_user.ko.xz: kernel/net/xfrm/xfrm_algo.ko\nkernel/net/netfilter/nfnetlink_queue.ko: kernel/b.ko kernel/a-c.ko\n"),
		"lib/modules/6.1/modules.builtin":         text("kernel/net/core/sock_diag.ko\n"),
		"lib/modules/6.1/modules.builtin.modinfo": text("sock_diag.license=GPL\x00sock_diag.alias=net-pf-16-proto-4\x00"),
	}
	for alias, want := range map[string]kernelfacts.ModuleFile{
		"net-pf-16-proto-6":  {Name: "xfrm_user", Needs: []string{"xfrm_algo"}},
		"nfnetlink-subsys-3": {Name: "nfnetlink_queue", Needs: []string{"b", "a_c"}},
		"net-pf-16-proto-4":  {Name: "sock_diag", BuiltIn: true},
	} {
		got, err := kernelfacts.FindModule(root, "6.1", alias)
		if err != nil || got.Name != want.Name || got.BuiltIn != want.BuiltIn || !slices.Equal(got.Needs, want.Needs) {
			t.Errorf("%s: %+v, %v; want %+v", alias, got, err, want)
		}
	}
	if got, err := kernelfacts.NeedsOf(root, "6.1", "sock-diag"); err != nil || !got.BuiltIn {
		t.Errorf("%+v, %v", got, err)
	}
	for _, tt := range [][2]string{{"6.1", "net-pf-16-proto-22"}, {"6.2", "net-pf-16-proto-6"}} {
		if _, err := kernelfacts.FindModule(root, tt[0], tt[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

func TestLoadedModules(t *testing.T) {
	root := fstest.MapFS{"proc/modules": {Data: []byte("xfrm_user 45056 0 - Live 0x0\nxfrm_algo 16384 1 xfrm_user, Loading 0x0\n")}}
	if got, err := kernelfacts.LoadedModules(root); err != nil || !slices.Equal(got, []string{"xfrm_algo", "xfrm_user"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := kernelfacts.LoadedModules(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
