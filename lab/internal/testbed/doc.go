// Package testbed is what every experiment stands on: the programs as processes in namespaces, how they are
// configured, what they leave, and the machine that all of it runs on.
//
// A [Group] is the processes of one run, a [Process] one of them. A [Foreign] is another program in verdictd's
// place. The functions whose names begin with Take read what the programs wrote: a key that is missing is an error
// and never a zero, as a zero is what the lab wants to see.
//
// # Lifetime
//
// Nothing outlives the lab. Namespaces are held by descriptors of this process and by the processes in them;
// children die with it (package child). What remains of a lab that was killed with SIGKILL is one directory of
// small files below $TMPDIR.
//
// # Debugging
//
// A run that fails says which program did, how it ended and the last that it wrote to stderr.
package testbed
