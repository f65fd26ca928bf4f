// Package holders finds the programs that have netlink sockets of netfilter open:
// those that have bound queues, and those that listen to conntrack's events.
//
// The kernel tells a socket by its port id and its inode. Which process has it open
// shows in /proc/PID/fd, of other users' processes to root alone; where that cannot
// be read, the port id is mostly the process's number, and the answer says that it
// is guessed. Sockets are those of the calling thread's network namespace.
package holders
