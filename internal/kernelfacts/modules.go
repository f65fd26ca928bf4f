package kernelfacts

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// ModuleState is whether a part of the kernel is there.
type ModuleState string

// The states.
const (
	ModuleLoaded   ModuleState = "loaded"
	ModuleChanging ModuleState = "changing" // being loaded or unloaded
	ModuleBuiltIn  ModuleState = "built-in"
	ModuleLoadable ModuleState = "loadable" // a file below /lib/modules
	ModuleAbsent   ModuleState = "absent"   // not built
	ModuleUnknown  ModuleState = "unknown"
)

// Module is a part of the kernel that queueing rests on.
type Module struct {
	Name   string      `json:"name"`
	State  ModuleState `json:"state"`
	Reason string      `json:"reason"` // where the state was seen, or why it was not
}

// queueModules are the parts, each with the option that builds it.
var queueModules = []struct{ name, option string }{
	{"nfnetlink_queue", "CONFIG_NETFILTER_NETLINK_QUEUE"},
	{"nf_conntrack", "CONFIG_NF_CONNTRACK"},
	{"nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK"},
	{"nft_queue", "CONFIG_NFT_QUEUE"},
	{"xt_NFQUEUE", "CONFIG_NETFILTER_XT_TARGET_NFQUEUE"},
}

// configLimit bounds what is unpacked of a kernel's configuration.
const configLimit = 16 << 20

// ReadModules says for each part of the kernel that queueing rests on whether it
// is there. It looks and loads nothing.
func ReadModules(root fs.FS, release string) []Module {
	v := moduleView{root: root, folder: path.Join("lib/modules", release)}
	v.live, v.liveErr = lines(root, "proc/modules", " ", func(key, rest string) (string, string) {
		fields := strings.Fields(rest) // size, users, users' names, state, address
		if len(fields) < 4 {
			return key, ""
		}
		return key, fields[3]
	})
	v.builtin, v.builtinErr = lines(root, v.folder+"/modules.builtin", "\n", moduleFile)
	v.files, v.filesErr = lines(root, v.folder+"/modules.dep", ":", moduleFile)
	v.config, v.configErr = readConfig(root, release)
	modules := make([]Module, 0, len(queueModules))
	for _, m := range queueModules {
		state, reason := v.state(m.name, m.option)
		modules = append(modules, Module{m.name, state, reason})
	}
	return modules
}

// moduleView is what the machine has of its modules.
type moduleView struct {
	root   fs.FS
	folder string // /lib/modules/RELEASE

	live, builtin, files, config             map[string]string
	liveErr, builtinErr, filesErr, configErr error
}

func (v *moduleView) state(name, option string) (ModuleState, string) {
	switch live, ok := v.live[name]; {
	case ok && live == "Live":
		return ModuleLoaded, "/proc/modules"
	case ok:
		return ModuleChanging, "/proc/modules: " + live
	}
	set := v.config[option]
	if set == "y" {
		return ModuleBuiltIn, option + "=y"
	}
	if _, ok := v.builtin[name]; ok {
		return ModuleBuiltIn, "modules.builtin"
	}
	// A built-in part has a folder only if it has parameters; a module's appears
	// with its initstate a moment later (the race of kmod up to 19).
	if _, err := fs.Stat(v.root, "sys/module/"+name); err == nil {
		if state := readText(v.root, "sys/module/"+name+"/initstate"); state.Err == nil {
			if state.Value == "live" {
				return ModuleLoaded, "/sys/module/" + name
			}
			return ModuleChanging, "/sys/module/" + name + ": " + state.Value
		}
		if set == "m" {
			return ModuleChanging, "/sys/module/" + name + " has no initstate yet"
		}
		return ModuleBuiltIn, "/sys/module/" + name + ", and no module of that name"
	}
	if _, ok := v.files[name]; ok {
		return ModuleLoadable, "modules.dep"
	}
	switch {
	case set == "m":
		return ModuleLoadable, option + "=m"
	case v.configErr == nil:
		return ModuleAbsent, option + " is not set"
	case v.builtinErr == nil && v.filesErr == nil:
		return ModuleAbsent, "neither in modules.builtin nor in modules.dep"
	}
	return ModuleUnknown, together(v.liveErr, v.configErr, v.builtinErr, v.filesErr).Error()
}

// moduleFile takes the name out of kernel/net/netfilter/xt_NFQUEUE.ko.xz.
func moduleFile(file, _ string) (name, value string) {
	name, _, _ = strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_"), ""
}

// lines reads a file of keys and values.
func lines(root fs.FS, name, separator string, entry func(key, rest string) (string, string)) (map[string]string, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("could not read: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	return scan(f, name, separator, entry)
}

func scan(r io.Reader, name, separator string, entry func(key, rest string) (string, string)) (map[string]string, error) {
	values := map[string]string{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20) // modules.dep has long lines
	for s.Scan() {
		key, rest, _ := strings.Cut(s.Text(), separator)
		key, rest = entry(key, rest)
		values[key] = rest
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("could not read %s: %w", name, err)
	}
	return values, nil
}

// readConfig reads the options that the kernel was built with.
func readConfig(root fs.FS, release string) (map[string]string, error) {
	option := func(key, value string) (string, string) { return key, value }
	running, err := readPacked(root, "proc/config.gz", option)
	if err == nil {
		return running, nil
	}
	installed, bootErr := lines(root, "boot/config-"+release, "=", option)
	if bootErr == nil {
		return installed, nil
	}
	return nil, together(err, bootErr)
}

func readPacked(root fs.FS, name string, option func(string, string) (string, string)) (map[string]string, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("could not read: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("could not read %s: %w", name, err)
	}
	return scan(io.LimitReader(text, configLimit), name, "=", option)
}
