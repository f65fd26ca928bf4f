// Package stats adds up what the kernel's conntrack counters rose by, and writes it: the document and the tables of
// `conntrackwatch stats`.
package stats
