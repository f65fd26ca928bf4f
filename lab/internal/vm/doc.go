// Package vm boots a kernel in QEMU, runs one command in it and brings back what
// the command said, wrote and did to the kernel. A crash then costs a virtual
// machine, and any user may have one: no root, no disk image, no network.
//
// # How a guest comes to be
//
// Its root is an initramfs that Run writes: the programs given to it, with the
// libraries that they need, kernel modules in the order in which they load, and a
// description of what to do. Its init is a program of the project that calls
// Guest: it mounts what programs expect, loads the modules, runs the command and
// sends what came of it. So nothing of a distribution is needed but the kernel.
//
// The archive is not packed: without hardware virtualization the guest would
// unpack it slower than QEMU copies it.
//
// # The two serial ports
//
// ttyS0 is the console: the kernel's messages, and with them oopses and panics.
// ttyS1 carries frames (frame.go): the command's output, its files, its exit
// status. A guest that dies stops in the middle of the frames; what came until
// then is kept, and the console says why.
//
// # Traps
//
//   - KVM may be there and still not work, such as in a virtual machine that is one
//     itself: it fails, or hangs, or is slower than emulation. So it is tried.
//   - Emulation of 57-bit addresses (la57) makes KASAN report falsely at boot.
//   - Emulation of cmpxchg16b (cx16) loses the flags now and then, and the kernel takes a
//     double fault in kmem_cache_alloc, with an address in EFLAGS (QEMU 7.2; Linux 6.12
//     did so at every third boot). Kernels do without the instruction where it is hidden.
//   - A kernel without ACPI learns of its processors from a table that lists
//     sockets: -smp 2 alone shows one.
//   - Without ACPI a guest cannot switch itself off: it reboots, and -no-reboot makes
//     that QEMU's end.
//   - What a command wrote less than a moment before the machine died may not have left it.
//   - A guest's clock under emulation is a loaded machine's: bound things generously.
//
// # Lifetime
//
// Run returns when QEMU has ended. QEMU is in a process group of its own, is killed
// when the context or the time is over, and dies with the calling process even if
// that is killed. On disk there is one temporary directory with the initramfs.
package vm
