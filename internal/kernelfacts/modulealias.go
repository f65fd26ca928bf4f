package kernelfacts

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ModuleFile is a module below /lib/modules.
type ModuleFile struct {
	Name string
	// Needs are the modules that have to be loaded for it, those that it needs itself first: the order in which they
	// can be unloaded.
	Needs []string
	// BuiltIn says that it is a part of the kernel itself, and can be neither loaded nor unloaded.
	BuiltIn bool
}

// FindModule looks up what the kernel asks modprobe for, such as "net-pf-16-proto-6", in the index that depmod has
// written. It returns an error that is [fs.ErrNotExist] if there is no index, or no module of that alias.
func FindModule(root fs.FS, release, alias string) (ModuleFile, error) {
	folder := path.Join("lib/modules", release)
	aliases, err := lines(root, folder+"/modules.alias", " ", func(_, rest string) (string, string) {
		alias, name, _ := strings.Cut(rest, " ")
		return alias, name
	})
	if err != nil {
		return ModuleFile{}, err
	}
	if name, ok := aliases[alias]; ok {
		return NeedsOf(root, release, name)
	}
	// Records of NAME.alias=ALIAS, one behind the other with zeros between (kernel 5.2 and later).
	if text, err := fs.ReadFile(root, folder+"/modules.builtin.modinfo"); err == nil {
		for record := range strings.SplitSeq(string(text), "\x00") {
			if name, ok := strings.CutSuffix(record, ".alias="+alias); ok {
				return ModuleFile{Name: name, BuiltIn: true}, nil
			}
		}
	}
	return ModuleFile{}, fmt.Errorf("no module in %s is called %s: %w", folder, alias, fs.ErrNotExist)
}

// NeedsOf looks a module up by its name.
func NeedsOf(root fs.FS, release, name string) (ModuleFile, error) {
	folder := path.Join("lib/modules", release)
	name = strings.ReplaceAll(name, "-", "_")
	needs, err := lines(root, folder+"/modules.dep", ":", func(file, rest string) (string, string) {
		name, _ := moduleFile(file, "")
		return name, rest
	})
	if err != nil {
		return ModuleFile{}, err
	}
	if rest, ok := needs[name]; ok {
		m := ModuleFile{Name: name}
		for file := range strings.FieldsSeq(rest) {
			need, _ := moduleFile(file, "")
			m.Needs = append(m.Needs, need)
		}
		return m, nil
	}
	builtin, err := lines(root, folder+"/modules.builtin", "\n", moduleFile)
	if _, ok := builtin[name]; err == nil && ok {
		return ModuleFile{Name: name, BuiltIn: true}, nil
	}
	return ModuleFile{}, fmt.Errorf("no module in %s is named %s: %w", folder, name, fs.ErrNotExist)
}

// LoadedModules are the modules that are in the kernel, in whatever state. The error is [fs.ErrNotExist] for a kernel
// that was built without loadable modules.
func LoadedModules(root fs.FS) ([]string, error) {
	loaded, err := lines(root, "proc/modules", " ", func(name, rest string) (string, string) { return name, rest })
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range loaded {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
