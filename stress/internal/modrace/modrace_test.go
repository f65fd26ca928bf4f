package modrace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/modules"
	"verdictd/internal/results"
)

// machine stands for a kernel with modules, and for a modprobe that may be as that of kmod 18 was.
type machine struct {
	root fstest.MapFS
	// early says that modprobe takes a module that is being loaded for built in.
	early bool
	// unloadErr is what unloading says, but for the module that is not there.
	unloadErr error
	kmod      string

	mu      sync.Mutex
	state   string // "", "loading", "live"
	others  map[string]bool
	inUse   int // unloadings that fail for the module's users
	asked   int
	removed []string
}

func newMachine() *machine {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return &machine{
		kmod:   "kmod version 30\n",
		others: map[string]bool{},
		root: fstest.MapFS{
			"proc/modules":                    text("dummy 1 0 - Live 0x0\n"),
			"proc/sys/kernel/modprobe":        text("/sbin/modprobe\n"),
			"sbin/modprobe":                   text(""),
			"lib/modules/6.1/modules.alias":   text("alias net-pf-16-proto-6 xfrm_user\nalias nfnetlink-subsys-3 nfnetlink_queue\n"),
			"lib/modules/6.1/modules.dep":     text("k/xfrm_algo.ko:\nk/xfrm_user.ko: k/xfrm_algo.ko k/dummy.ko\nk/nfnetlink_queue.ko:\n"),
			"lib/modules/6.1/modules.builtin": text("k/sock_diag.ko\n"),
		},
	}
}

func (m *machine) Root() fs.FS              { m.mu.Lock(); defer m.mu.Unlock(); m.show(); return m.root }
func (m *machine) Release() (string, error) { return "6.1", nil }

func (m *machine) Run(_ context.Context, name string, _ ...string) ([]byte, error) {
	if name != "/sbin/modprobe" {
		return nil, fmt.Errorf("%s was run", name)
	}
	return []byte(m.kmod), nil
}

// show writes /proc/modules.
func (m *machine) show() {
	list := "dummy 1 0 - Live 0x0\n"
	if m.state == "live" {
		list += "xfrm_user 1 0 - Live 0x0\nxfrm_algo 1 1 xfrm_user, Live 0x0\n"
	}
	if _, ok := m.root["proc/modules"]; ok {
		m.root = maps.Clone(m.root)
		m.root["proc/modules"] = &fstest.MapFile{Data: []byte(list)}
	}
}

func (m *machine) Ask(p modules.Part) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if p.Name != "xfrm" {
		return fmt.Errorf("%w: %w", modules.ErrNotThere, unix.EINVAL)
	}
	for m.state != "live" {
		switch {
		case m.state == "":
			m.state = "loading"
			m.mu.Unlock()
			time.Sleep(2 * time.Millisecond)
			m.mu.Lock()
			m.state = "live"
		case m.early:
			return fmt.Errorf("%w: %w", modules.ErrNotThere, unix.EPROTONOSUPPORT)
		default:
			m.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
			m.mu.Lock()
		}
	}
	return nil
}

func (m *machine) Unload(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.unloadErr != nil:
		return m.unloadErr
	case name == probeName:
		return unix.ENOENT
	case m.inUse > 0:
		m.inUse--
		return unix.EAGAIN
	}
	m.removed = append(m.removed, name)
	if m.state == "" {
		return unix.ENOENT
	}
	if name == "xfrm_user" {
		m.state = ""
	}
	return nil
}

func xfrm(t *testing.T) modules.Part {
	t.Helper()
	part, err := modules.ProtocolPart("xfrm")
	if err != nil {
		t.Fatal(err)
	}
	return part
}

func run(t *testing.T, m *machine, strategy Strategy) *results.Modload {
	t.Helper()
	target, err := Prepare(t.Context(), m, xfrm(t), "")
	if err != nil {
		t.Fatal(err)
	}
	const threads, rounds = 4, 20
	seen := 0
	res, err := Run(t.Context(), m, target, Config{threads, rounds, strategy},
		func(r *results.Modload) { seen = r.Rounds })
	if err != nil {
		t.Fatal(err)
	}
	if res.Rounds != rounds || seen != rounds || res.Opened+res.Failed != threads*rounds ||
		res.Config.Module != "xfrm_user" || m.state != "" {
		t.Errorf("%+v, the module left %q", res, m.state)
	}
	return res
}

// What the old modprobe does to threads that start as they are, it does not do to those that start behind the module.
func TestStrategies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newMachine()
		old.early, old.kmod = true, "kmod version 18\n"
		res := run(t, old, Naive)
		if res.Failed == 0 || res.Errors["EPROTONOSUPPORT"] != res.Failed || res.FailedRounds == 0 || res.FirstFailure == 0 ||
			res.KmodRace != kernelfacts.Affected {
			t.Errorf("naive, old modprobe: %+v", res)
		}
		for _, early := range []bool{true, false} {
			m := newMachine()
			m.early = early
			if res := run(t, m, ModulesFirst); res.Failed > 0 || res.FirstFailure > 0 || res.StartErrors > 0 {
				t.Errorf("modules first, early %v: %+v", early, res)
			}
		}
		if res := run(t, newMachine(), Naive); res.Failed > 0 || res.KmodRace != kernelfacts.Fixed {
			t.Errorf("naive, new modprobe: %+v", res)
		}
	})
}

// Modules that were there before stay.
func TestUnloadsOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		run(t, m, Naive)
		if slices.Contains(m.removed, "dummy") || !slices.Contains(m.removed, "xfrm_algo") {
			t.Errorf("unloaded %v", m.removed)
		}
	})
}

func TestModuleThatWasLoadedIsLoadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		if err := m.Ask(xfrm(t)); err != nil {
			t.Fatal(err)
		}
		target, err := Prepare(t.Context(), m, xfrm(t), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), m, target, Config{2, 3, Naive}, nil); err != nil || m.state != "live" {
			t.Errorf("%v, the module is %q", err, m.state)
		}
	})
}

func TestModuleInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		target, err := Prepare(t.Context(), m, xfrm(t), "")
		if err != nil {
			t.Fatal(err)
		}
		m.inUse = 5 // for a moment, as sockets are that were just closed
		if _, err := Run(t.Context(), m, target, Config{2, 3, Naive}, nil); err != nil {
			t.Error(err)
		}
		m.inUse = 1 << 30
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		res, err := Run(ctx, m, target, Config{2, 3, Naive}, nil)
		if err == nil || res == nil || res.Rounds != 0 || !res.TimedOut {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestCannot(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil  func(*machine)
		part   string
		module string
		want   string
	}{
		"no modules at all": {func(m *machine) { delete(m.root, "proc/modules") }, "xfrm", "",
			"no loadable modules (there is no /proc/modules), and xfrm is there all the same: it is built in"},
		"nothing to load": {func(*machine) {}, "22", "", "no module in lib/modules/6.1 is called net-pf-16-proto-22"},
		"no folder": {func(m *machine) { delete(m.root, "lib/modules/6.1/modules.alias") }, "xfrm", "",
			"modules.alias"},
		"built in":     {func(*machine) {}, "xfrm", "sock_diag", "sock_diag is built into this kernel"},
		"not allowed":  {func(m *machine) { m.unloadErr = unix.EPERM }, "xfrm", "", "CAP_SYS_MODULE"},
		"no unloading": {func(m *machine) { m.unloadErr = unix.ENOSYS }, "xfrm", "", "CONFIG_MODULE_UNLOAD"},
		"disabled": {func(m *machine) {
			m.unloadErr = unix.EPERM
			m.root["proc/sys/kernel/modules_disabled"] = &fstest.MapFile{Data: []byte("1\n")}
		}, "xfrm", "", "modules_disabled is 1"},
		"no modprobe": {func(m *machine) { delete(m.root, "sbin/modprobe") }, "xfrm", "",
			"/sbin/modprobe, which cannot be run"},
		"modprobe turned off": {func(m *machine) { m.root["proc/sys/kernel/modprobe"].Data = []byte("\n") }, "xfrm", "",
			"kernel.modprobe is empty"},
		"another module": {func(*machine) {}, "xfrm", "nfnetlink_queue", "nfnetlink_queue is not loaded"},
	} {
		m := newMachine()
		tt.spoil(m)
		part, err := modules.ProtocolPart(tt.part)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Prepare(t.Context(), m, part, tt.module); !errors.Is(err, ErrCannot) ||
			!strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := (Config{8, 100, ModulesFirst}).Validate(); err != nil {
		t.Error(err)
	}
	err := (Config{0, 0, "lucky"}).Validate()
	for _, want := range []string{"threads 0", "rounds 0", "modules-first"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		target, err := Prepare(t.Context(), m, xfrm(t), "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		res, err := Run(ctx, m, target, Config{2, maxRounds, Naive}, func(*results.Modload) { cancel() })
		if err == nil || !res.Interrupted || res.Rounds == 0 || res.Rounds == maxRounds {
			t.Errorf("%+v, %v", res, err)
		}
	})
}
