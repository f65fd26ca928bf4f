// Package fdstore keeps descriptors alive while a daemon is not. It exists because an
// NFQUEUE lives as long as its socket does: what holds the socket while the daemon is
// restarted keeps every packet that waits.
//
// The protocol is systemd's descriptor store (sd_pid_notify_with_fds(3),
// sd_listen_fds(3), systemd.io/FILE_DESCRIPTOR_STORE), both sides of it:
//
//   - a Client sends descriptors by name to the socket in $NOTIFY_SOCKET, and takes
//     them out again; Received are those that a next process begins with,
//   - a Server is such a socket for a parent of the daemon's own, where there is no
//     systemd. It hands what it holds to the next child.
//
// # Traps
//
// A manager that keeps no descriptors (FileDescriptorStoreMax=0) says nothing when it
// is sent one. $FDSTORE tells how many it keeps: systemd sets it since version 254, and
// the units set it themselves for earlier ones. Without it there is no store.
//
// FDPOLL=0 (systemd 246) keeps the manager from dropping a socket that reports an
// error.
//
// LISTEN_PID has to be the child's own process id, which Go's os/exec cannot know
// before it forks. A Server therefore names itself (VERDICTD_KEEPER), and its child
// takes the descriptors where that is its parent.
//
// An abstract address is one of a network namespace. A Server's is a path, so that its
// child may enter another namespace.
//
// # Debugging
//
// `systemd-analyze fdstore UNIT` lists what systemd holds (254); `ls -l /proc/PID/fd`
// what a Server does.
package fdstore
