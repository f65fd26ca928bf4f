package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"verdictd/lab/internal/debian"
	"verdictd/lab/internal/kbuild"
	"verdictd/lab/internal/testbed"
	"verdictd/lab/internal/vm"
)

// An Image is a kernel that can be booted.
type Image struct {
	Name    string `json:"name"`              // as it was asked for
	Release string `json:"release,omitempty"` // "" where only the kernel itself could tell
	Package string `json:"package,omitempty"` // of a distribution, with its version
	Path    string `json:"path"`
	Modules string `json:"modules,omitempty"`
}

// FindImage finds what a user calls a kernel: a file, debian[:SUITE[/RELEASE]], or the name of one that was built.
func FindImage(ctx context.Context, name, modules string, remarks io.Writer) (Image, error) {
	if rest, ok := strings.CutPrefix(name, "debian"); ok && (rest == "" || rest[0] == ':') {
		if modules != "" {
			return Image{}, errors.New("--modules is for --image FILE: Debian's kernels bring their own")
		}
		k, err := debian.Fetch(ctx, debian.Config{
			Wanted:   strings.TrimPrefix(rest, ":"),
			Progress: func(s string) { fmt.Fprintln(remarks, "lab:", s) },
		})
		return Image{Name: name, Release: k.Release, Package: k.Package + " " + k.Version, Path: k.Path,
			Modules: k.Modules}, err
	}
	if !strings.Contains(name, "/") {
		cache, err := kbuild.Cache()
		if err != nil {
			return Image{}, err
		}
		built := filepath.Join(cache, "images", name, "bzImage")
		if _, err := os.Stat(built); err == nil {
			return Image{Name: name, Path: built, Modules: modules}, nil
		}
		if _, err := os.Stat(name); err != nil {
			return Image{}, fmt.Errorf("--image %s is no file here, no kernel of lab kernel build, and not "+
				"debian[:SUITE]", name)
		}
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return Image{}, err
	}
	if modules == "" {
		modules = vm.ModulesOf(path)
	}
	i := Image{Name: name, Path: path, Modules: modules}
	if modules != "" {
		i.Release = filepath.Base(modules)
	}
	return i, nil
}

// LabPath is where a guest has the lab, which is its init as well.
const LabPath = "/bin/lab"

// A Machine is a virtual one that boots a kernel of its own.
type Machine struct {
	Image   string // as [FindImage] takes it
	Modules string // the folder /lib/modules/RELEASE, "" for where an installed kernel has it
	CPUs    int
	Memory  int // MiB; 0: what its files need, at least 512

	Append      []string // words for the kernel's command line
	Accelerator string   // kvm, tcg, or auto for the better one that works
	Bin         string   // where the programs are, "" for beside this one
}

// Prepare is the machine with the project's programs in it, still without a command.
func (m *Machine) Prepare(ctx context.Context, remarks io.Writer) (Image, vm.Config, error) {
	p, err := testbed.FindPrograms(m.Bin)
	if err != nil {
		return Image{}, vm.Config{}, err
	}
	i, err := FindImage(ctx, m.Image, m.Modules, remarks)
	if err != nil {
		return i, vm.Config{}, err
	}
	c := vm.Config{InitPath: LabPath, InitArgs: []string{"kernel", "guest"}, Kernel: i.Path, Modules: i.Modules,
		CPUs: m.CPUs, Memory: m.Memory, Append: m.Append}
	for _, program := range []string{p.Verdictd, p.Stress, p.Conntrackwatch} {
		c.Files = append(c.Files, vm.File{Host: program, Guest: "/bin/" + filepath.Base(program)})
	}
	if m.Accelerator != "auto" {
		c.Accelerator = m.Accelerator
	}
	if i.Modules == "" {
		return i, c, nil
	}
	tree, err := vm.OpenTree(i.Modules)
	if err != nil {
		return i, c, err
	}
	for _, name := range networkModules {
		if tree.Has(name) {
			c.ModuleNames = append(c.ModuleNames, name)
		}
	}
	return i, c, nil
}

// networkModules are loaded where a kernel has them: all that the project's programs make use of, as nothing in the
// machine would load them on demand.
var networkModules = []string{
	"nfnetlink", "nfnetlink_queue", "nf_conntrack", "nf_conntrack_netlink", "nf_tables",
	"nft_queue", "nft_ct", "nft_numgen", "nft_hash", "nft_reject_inet", "nft_limit", "nft_counter", "nft_chain_nat", "nft_nat", "nft_masq",
	"nft_compat",
	"ip_tables", "ip6_tables", "iptable_filter", "iptable_mangle", "iptable_nat", "iptable_raw", "ip6table_mangle",
	"ip6table_nat", "ip6table_raw",
	"xt_NFQUEUE", "xt_CT", "xt_conntrack", "xt_mark", "xt_connmark", "xt_statistic", "xt_MASQUERADE", "xt_nat",
	"dummy", "veth", "inet_diag", "udp_diag",
}
