// Package modrace provokes what happens when several threads need the same kernel
// module at the same moment and it is not loaded yet.
//
// Each round unloads the module, lines the threads up, and has them ask for it at once: by opening a netlink socket of
// its protocol, or by a request to its subsystem of nfnetlink. The kernel then runs modprobe for each of them. With
// kmod up to 19 one modprobe can take the module that another one is just loading for built in, and its thread gets
// EPROTONOSUPPORT, or EINVAL from nfnetlink ([modules.Load] has the sources).
//
// Two strategies start the threads: naive lets them go as they are; modules-first has [modules.Load] bring the module
// in before, which is how verdictd starts.
//
// # Traps
//
//   - Nothing can be shown where the part is built in, where modules may not be loaded or unloaded, or where there is
//     no modprobe. [Prepare] finds out, and says which.
//   - Unloading a module takes away what it holds. Modules that were loaded before the run are left alone, but for the
//     one in question, which is loaded again at the end.
//   - A module's reference by a socket lasts until the socket is closed, and by RCU a little longer: unloading is
//     tried for a while.
//   - The threads belong to one process. The kernel does not care: modprobe runs once for each request.
package modrace
