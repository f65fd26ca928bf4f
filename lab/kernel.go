package main

// kernelCmd is `lab kernel`: kernels in virtual machines.
type kernelCmd struct {
	Run   kernelRunCmd   `cmd:"" help:"Boot a kernel in a virtual machine, run a command in it, and return its exit status."`
	Guest kernelGuestCmd `cmd:"" hidden:"" help:"The init of these virtual machines."`
}
