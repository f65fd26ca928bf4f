// Package kernelfacts says what is known of a kernel by its release: which faults of conntrack and NFQUEUE it has, what
// its counters mean, and what its distributor has changed. It reads what the host tells of its kernel, its modules and
// its settings, and loads nothing.
//
// Each row of the table names the commit that it rests on. What cannot be told from a release is said to be unknown.
package kernelfacts
