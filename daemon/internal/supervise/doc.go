// Package supervise keeps a daemon running where there is no systemd: it holds the descriptors of the daemon's sockets
// and journals while the daemon is away, starts it once more, and decides what becomes of the packets if it does not
// come back.
//
// The process that does this is the daemon's parent, does nothing else, and so outlives what kills the daemon:
//
//	supervise.go  the loop: signals, ends, messages and deadlines, one after the other
//	worker.go     how the daemon is started, from its path each time, so that an upgrade is a restart
//	backoff.go    how long to wait after how many failures
//	end.go        which ends are final, and with which status
//	outer.go      what is passed on to a service manager above
//
// # Who waits for whom
//
// The parent reaps every child, as it may be process 1 of a container. A daemon that is started finds its descriptors
// as under systemd (LISTEN_FDS). If the parent is killed, the kernel tells the daemon to stop in order (SIGTERM), since
// nobody would start it once more; whoever started the parent starts both.
//
// # How to debug
//
// The log names each end of the daemon with its status or signal, and each start with its process. A daemon that ends
// again and again shows growing pauses; `kill -USR2` to the parent tries at once.
package supervise
