// Package procnet is `lab kernel procnet`: the names of /proc/net in a virtual machine, and proof that a hang there
// would be found.
package procnet
