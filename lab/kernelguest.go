package main

import "verdictd/internal/vm"

// kernelGuestCmd is what the kernel starts first in a virtual machine of the lab.
type kernelGuestCmd struct{}

// Run is called by kong.
func (kernelGuestCmd) Run() error { return vm.Guest() }
