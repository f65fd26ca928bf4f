// Conntrackwatch counts what connection tracking does in the network namespace it runs in.
//
//	conntrackwatch stats    what the kernel's per-CPU counters rose by, clashes among them
//	conntrackwatch events   entries that are made, changed and destroyed: counted, followed, or a line for each
//	conntrackwatch trace    each clash, where the kernel lets BPF programs look
//
// Both count until SIGINT or SIGTERM, or for --duration, and then print a table, or JSON with --json. Both tell
// systemd (READY=1 on NOTIFY_SOCKET) when they have begun to count, so that a caller can wait for that.
//
// stats reads counters at its start, at its end and at each --interval; it never subscribes to events. Where
// nf_conntrack_events is 2, the default since Linux 5.19, the kernel attaches events to entries only while
// somebody listens, and on kernels without the fix of CVE-2022-49561 delivering them after a clash is what
// crashes: a listener would be a part of what it watches. events is such a listener, and says so.
package main
