// Package privileges has the daemon itself give up what it does not need, so that whoever takes it over through a
// packet has gained little, also where no unit fences it in.
//
// What stays is CAP_NET_ADMIN: the kernel asks for it at each change of rules, each question to conntrack and each
// queue that is bound, all of which go on for as long as the daemon runs. Nothing else of what root may do is
// needed once the kernel's modules are loaded and the configuration is read.
//
//	confine.go       the order, and what is said of it
//	capabilities.go  capabilities, no_new_privs, another user
//	seccomp.go       the system calls that are left
//	landlock.go      the files that are left
//
// # Traps
//
// All of this is a property of a thread, and Go has many: each call here reaches all of them. It cannot be taken
// back.
//
// Root without its capabilities still owns root's files, which is why the fence around files is there. The
// kernel's list of queues (/proc/net/netfilter/nfnetlink_queue) is for root's user or group: who switches the user
// keeps the group.
//
// A process behind landlock may not look into processes outside (/proc/PID/fd), so that the names of programs that
// hold queues are guessed from then on.
//
// # How to debug
//
// /proc/PID/status shows the capabilities, NoNewPrivs and Seccomp. A system call that is not on the list returns
// EPERM and is in the kernel's audit log (type=1326); one that a new library needs is a line in seccomp.go.
// `privileges:` in the configuration turns each part off, to see whether it is the cause.
package privileges
