// Package topology makes the network namespaces that the programs show things in: a sender, a receiver, and the place
// where a queue belongs, with fixed documentation addresses, so that a capture of one run reads like that of another.
//
// Namespaces are held by descriptors of this process and by whatever runs in them: nothing outlives both. Conntrack is
// active where the queue belongs and, in the other namespaces, only once something asks for it.
package topology
