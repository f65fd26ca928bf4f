// Package translate turns the policy of a configuration into one that decides, because the
// file says what an operator means and the hot path wants bits: it is the one place that
// knows both. The daemon, its checks and its tools use it.
//
//	sets.go     sets are opened, or kept where they are declared as before
//	policy.go   rules
//	match.go    what they match
//	copied.go   how much of packets that takes
package translate
