// Package samples exists so that whoever runs the daemon can look at packets that a rule has
// decided about: it writes them to files that any capture tool reads (pcapng).
//
// # From a packet to a file
//
// A worker copies a packet's first bytes, vocabulary.SampleBytes at most, into a ring, and goes on: it
// neither waits nor allocates. One goroutine takes packets out ten times a second and
// appends them to a file. What finds the ring full is left out and counted (Counts.Lost).
// How many of each rule come here is limited before (policy's `sample`).
//
// # Files
//
// The folder has samples-NNNNNN.pcapng. Numbers rise, also over restarts; a file that has
// reached its length is closed and the next one begun, and the oldest go so that no more
// than the configured number are there. A block is written whole or not at all, so that a
// file of a daemon that crashed can be read. Where a file cannot be written (a full disk, no
// permission) samples are left out, it is logged, and the next file is tried after a pause.
//
// Packets begin with their IP header (LINKTYPE_RAW). Each has a comment: the rule's name and
// the action. Queue and hook are in it too.
package samples
