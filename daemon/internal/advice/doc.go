// Package advice says what is right in a configuration and probably not meant, or costs more
// than it seems to, because a policy that only does not do what its author thinks has no error.
//
//	covers.go   whether one match has all packets of another one
//	shadow.go   rules that can never decide
//	names.go    names that look like typing errors
//	sets.go     sets that overlap, or that nobody uses
//	queued.go   rules for packets that the kernel's rules do not queue
//	cost.go     what is done for each packet
//
// It proves what it says of rules that can never match; that it is silent proves nothing.
package advice
