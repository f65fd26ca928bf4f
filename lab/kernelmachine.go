package main

// machineFlags are what all commands take that boot a machine.
type machineFlags struct {
	Image   string `name:"image" aliases:"bzimage" required:"" help:"The kernel: a bzImage or vmlinuz; debian or debian:SUITE, such as debian:bookworm-backports, whose package is then fetched; or the name of one that lab kernel build made." placeholder:"IMAGE"`
	Modules string `help:"The folder /lib/modules/RELEASE of that kernel, for a distribution's. Default: where an installed kernel has it." type:"path" placeholder:"DIR"`
	CPUs    int    `name:"cpus" help:"Processors of the machine." default:"2"`
	Memory  int    `help:"Its memory in MiB. Default: what its files need, at least 512." placeholder:"MIB"`

	Append      []string `help:"A word for the kernel's command line, such as slub_debug=FPZ. May be repeated." placeholder:"WORD" sep:"none"`
	Accelerator string   `help:"How QEMU runs the machine's code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Bin         string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
}

func (m *machineFlags) machine() machine {
	return machine{Image: m.Image, Modules: m.Modules, CPUs: m.CPUs, Memory: m.Memory, Append: m.Append, Accelerator: m.Accelerator, Bin: m.Bin}
}
