// Package installed shows that the Debian package works where it is installed: a virtual machine with Debian's kernel,
// userland and systemd, in which the package is installed, started, reloaded, restarted, killed, upgraded from the
// version before, removed and purged, the middle of it under a load whose every packet is accounted for.
//
// Run makes the machine and is called on the host. Guest is called in it, beside systemd, and prints a line for each
// step.
//
// There are two streams of packets in the load. The policy accepts the one: what does not arrive is lost. It drops the
// other: what arrives has passed unjudged.
package installed
