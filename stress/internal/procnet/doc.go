// Package procnet reads, renames and watches the many names of /proc/net at once, in several network namespaces, and
// looks for two faults: a view that shows another namespace's counters, and a lock that is never given back.
//
// /proc/net is a link to self/net since 2.6.25, and every process and thread has such a directory: /proc/PID/net,
// /proc/TID/net, /proc/PID/task/TID/net, and /proc/thread-self/net since 3.17. Those of one namespace show the same
// entries. Up to 3.8 a subdirectory was even the same inode under each of its names, so that rename(2) from one name of
// it to another took the same lock twice and waited for itself, forever, with the lock that all renames of that file
// system need (fixed by 51f0885e5415 in 3.9: each name has an inode of its own). Trinity found it; this tries the same
// on purpose.
//
// # How a run works
//
// [Run] starts a second process, which does the work ([Work]): only a process can be left behind. Its threads make
// namespaces, send a known number of packets inside each, and then read all names, try to rename across them, set
// watches, come and go. Each step of each thread is counted. A thread that takes no step for some time hangs, and is
// reported with where it waits in the kernel. The outer process ends in any case.
//
// # Traps
//
//   - A thread that hangs in an uninterruptible wait cannot be killed, nor can its process: it stays until the next
//     boot. Run says so and leaves it.
//   - On a read-only /proc, rename(2) fails before it takes any lock. The result tells whether the locks were reached.
//   - /proc/self/net is the view of the process's first thread, whichever thread reads it.
//   - Equal inode numbers are no fault: the kernels with the fix still show them, for inodes that are apart.
package procnet
