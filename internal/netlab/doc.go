// Package netlab makes network namespaces and what is in them: links, addresses, rules that translate or drop, and
// whole topologies of a sender, a receiver and a queue between them. Everything that generates traffic does it in
// there.
//
// # Namespaces
//
// A namespace here is anonymous: only file descriptors and the threads inside keep it alive, so that it is gone with
// the process whatever ends that, a SIGKILL included. Nothing is ever mounted below /run/netns.
//
// A network namespace is a property of an OS thread. [NetNS.Do] runs a function inside one; goroutines that the
// function starts run outside. A socket belongs for good to the namespace of the thread that made it, and a child
// process starts in that of the thread that forked it. Files below /proc/net show the namespace of the process's first
// thread: read /proc/thread-self/net.
//
// In a fresh namespace connection tracking does nothing until a rule asks for it, see [NetNS.ActivateConntrack].
//
// # Topologies
//
// A [Topology] has fixed documentation addresses, so that a capture of one run reads like that of another. Conntrack is
// active where the queue belongs and, in the other namespaces, only once something asks for it.
//
// # Ordinary users
//
// [Ensure] lets a program run as an ordinary user: it starts the same command once more as root of a user namespace,
// where that is needed and allowed. What the inner program cannot do is touch what belongs to the machine: namespaces
// made by root, modules, sysctls outside of its own namespaces. A program that is given namespaces by path must not use
// it, as it would lose what right it has to enter them.
package netlab
