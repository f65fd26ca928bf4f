package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/vm"
)

// machine is what all commands take that boot one.
type machine struct {
	Image   string `name:"image" aliases:"bzimage" required:"" help:"The kernel: a bzImage or vmlinuz." placeholder:"IMAGE"`
	Modules string `help:"The folder /lib/modules/RELEASE of that kernel, for a distribution's." type:"path" placeholder:"DIR"`
	CPUs    int    `name:"cpus" help:"Processors of the machine." default:"2"`
	Memory  int    `help:"Its memory in MiB. Default: what its files need, at least 512." placeholder:"MIB"`

	Append      []string `help:"A word for the kernel's command line, such as slub_debug=FPZ. May be repeated." placeholder:"WORD" sep:"none"`
	Accelerator string   `help:"How QEMU runs the machine's code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Bin         string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
}

// config is the machine with the project's programs in it, still without a command.
func (m *machine) config() (vm.Config, error) {
	p, err := findPrograms(m.Bin)
	if err != nil {
		return vm.Config{}, err
	}
	c := vm.Config{Kernel: m.Image, Modules: m.Modules, CPUs: m.CPUs, Memory: m.Memory, Append: m.Append}
	for _, program := range []string{p.verdictd, p.stress, p.conntrackwatch} {
		c.Files = append(c.Files, vm.File{Host: program, Guest: "/bin/" + filepath.Base(program)})
	}
	if m.Accelerator != "auto" {
		c.Accelerator = m.Accelerator
	}
	if m.Modules == "" {
		return c, nil
	}
	tree, err := vm.OpenTree(m.Modules)
	if err != nil {
		return c, err
	}
	for _, name := range networkModules {
		if tree.Has(name) {
			c.ModuleNames = append(c.ModuleNames, name)
		}
	}
	return c, nil
}

// networkModules are loaded where a kernel has them: all that the project's programs make use of, as nothing in the
// machine would load them on demand.
var networkModules = []string{
	"nfnetlink", "nfnetlink_queue", "nf_conntrack", "nf_conntrack_netlink", "nf_tables",
	"nft_queue", "nft_ct", "nft_numgen", "nft_hash", "nft_limit", "nft_chain_nat", "nft_nat", "nft_masq", "nft_compat",
	"ip_tables", "ip6_tables", "iptable_filter", "iptable_mangle", "iptable_nat", "iptable_raw", "ip6table_mangle", "ip6table_nat", "ip6table_raw",
	"xt_NFQUEUE", "xt_CT", "xt_conntrack", "xt_mark", "xt_connmark", "xt_statistic", "xt_MASQUERADE", "xt_nat",
	"dummy", "veth", "inet_diag", "udp_diag",
}

// kernelRunCmd is `lab kernel run`.
type kernelRunCmd struct {
	machine
	Load    []string      `help:"A module to load as well, with what it depends on. May be repeated." placeholder:"MODULE"`
	File    []string      `help:"A file or folder of this machine to put into the guest. May be repeated; dynamic programs bring their libraries." placeholder:"HOST[:GUEST]" sep:"none"`
	Env     []string      `help:"A variable of the command. May be repeated." placeholder:"NAME=VALUE" sep:"none"`
	Timeout time.Duration `help:"How long all of it may take." default:"5m"`
	Console bool          `help:"Show the kernel's console on stderr."`
	Out     string        `help:"Write what the command left in /out to this folder." type:"path" placeholder:"DIR"`
	JSON    string        `name:"json" help:"Write how it went as JSON to FILE; - writes it to stdout, in place of the command's output." placeholder:"FILE"`
	Command []string      `arg:"" passthrough:"" help:"What to run, after --."`
}

// kernelRun is the JSON result.
type kernelRun struct {
	Schema  int      `json:"schema"`
	Image   string   `json:"image"`
	Command []string `json:"command"`
	*vm.Result
	Stdout  string   `json:"stdout"`
	Stderr  string   `json:"stderr"`
	Outputs []string `json:"outputs"` // the names of the files that the command left
}

// Run is called by kong.
func (c *kernelRunCmd) Run(ctx context.Context, std streams) error {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	for _, f := range c.File {
		host, guest, _ := strings.Cut(f, ":")
		if host, err = filepath.Abs(host); err != nil {
			return err
		}
		config.Files = append(config.Files, vm.File{Host: host, Guest: guest})
	}
	config.ModuleNames = append(config.ModuleNames, c.Load...)
	config.Command, config.Env, config.Timeout = c.Command, c.Env, c.Timeout
	config.Stdout, config.Stderr = std.out, std.err
	if c.JSON == "-" {
		config.Stdout = nil
	}
	if c.Console {
		config.Console = std.err
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return err
	}
	run := kernelRun{Schema: 1, Image: c.Image, Command: c.Command, Result: result, Stdout: string(result.Stdout), Stderr: string(result.Stderr), Outputs: []string{}}
	for name := range result.Outputs {
		run.Outputs = append(run.Outputs, name)
	}
	if err := writeOutputs(c.Out, result.Outputs); err != nil {
		return err
	}
	if c.JSON != "" {
		err = std.writeDocument(c.JSON, func() ([]byte, error) {
			b, err := json.MarshalIndent(run, "", "  ")
			return append(b, '\n'), err
		})
		if err != nil {
			return err
		}
	}
	return run.end(std.err)
}

// end says how it went where the command's exit status does not.
func (r *kernelRun) end(w io.Writer) error {
	switch {
	case r.Ended == vm.EndedExited && r.ExitStatus == 0:
		return nil
	case r.Ended == vm.EndedExited:
		return cli.ExitStatus(r.ExitStatus)
	case r.Ended == vm.EndedPanic:
		fmt.Fprintln(w, "lab: the kernel panicked; --console shows why")
	default:
		fmt.Fprintf(w, "lab: %s: %s\n", r.Ended, r.Reason)
	}
	return cli.ErrReported
}

// writeOutputs writes the files of a guest below a folder. Their names are the guest's: they must not lead out of it.
func writeOutputs(dir string, files map[string][]byte) (err error) {
	if dir == "" || len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for name, b := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("write the guest's files: %w", err)
		}
		if err := root.WriteFile(name, b, 0o644); err != nil {
			return fmt.Errorf("write the guest's files: %w", err)
		}
	}
	return nil
}
