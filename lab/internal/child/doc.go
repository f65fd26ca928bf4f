// Package child runs programs of which nothing is left when the lab ends, however
// that ends.
//
// # Lifetime
//
// A child has a process group of its own: Ctrl-C on the terminal is for the lab,
// which then ends its children in order. It also dies with the thread that forked
// it (PR_SET_PDEATHSIG is about the thread, not the process), so that thread has to
// wait for the child and do nothing else.
package child
