// Package kernel holds what the programs need from the host's kernel besides
// netlink protocols: network namespaces with the links between them, and facts
// about the running kernel.
//
// # Namespaces
//
// A namespace here is anonymous: only file descriptors and the threads inside
// keep it alive, so that it is gone with the process whatever ends that, a
// SIGKILL included. Nothing is ever mounted below /run/netns.
//
// A network namespace is a property of an OS thread. [NetNS.Do] runs a function
// inside one; goroutines that the function starts run outside. A socket belongs
// for good to the namespace of the thread that made it, and a child process
// starts in that of the thread that forked it. Files below /proc/net show the
// namespace of the process's first thread: read /proc/thread-self/net.
//
// In a fresh namespace connection tracking does nothing until a rule asks for
// it, see [NetNS.ActivateConntrack].
package kernel
