package main

// kernelCmd is `lab kernel`: kernels in virtual machines.
type kernelCmd struct {
	Doctor       kernelDoctorCmd       `cmd:"" help:"Say what is installed, what is missing, the command that installs it, and how virtual machines run here."`
	Build        kernelBuildCmd        `cmd:"" help:"Build a small kernel with the fault or without it, from a source of Linux; prints the image's path."`
	Fetch        kernelFetchCmd        `cmd:"" help:"Fetch a distribution's kernel into the cache and print its path, for machines that will have no network."`
	Run          kernelRunCmd          `cmd:"" help:"Boot a kernel in a virtual machine, run a command in it, and return its exit status."`
	Crash        kernelCrashCmd        `cmd:"" help:"Show the crash on a vulnerable kernel, gone with the fix, gone with the guard; every row in a virtual machine of its own."`
	Trace        kernelTraceCmd        `cmd:"" help:"Check conntrackwatch trace in a virtual machine, against loads whose clashes are known and the kernel's counters."`
	Modload      kernelModloadCmd      `cmd:"" help:"Count how modules fail to load for parallel threads, with today's modprobe and with an old one's race."`
	Procnet      kernelProcnetCmd      `cmd:"" help:"Check the names of /proc/net in a virtual machine, and that a hang there would be found."`
	Compare      kernelCompareCmd      `cmd:"" help:"Run the same scenarios on two kernels, in turns, and say what changed."`
	Check        kernelCheckCmd        `cmd:"" help:"Check in a few minutes that the programs do on other kernels what they promise: queue rules, the guard, modules, traces, /proc/net."`
	Workload     kernelWorkloadCmd     `cmd:"" hidden:"" help:"One row of an experiment in such a machine."`
	TraceGuest   kernelTraceGuestCmd   `cmd:"" hidden:"" help:"What trace runs in the virtual machine."`
	ModloadGuest kernelModloadGuestCmd `cmd:"" hidden:"" help:"What modload runs in its virtual machines."`
	Guest        kernelGuestCmd        `cmd:"" hidden:"" help:"The init of these virtual machines."`
}
