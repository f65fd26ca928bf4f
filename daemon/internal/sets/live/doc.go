// Package live has the sets that rules name, as they are in force: because lists change
// while packets pass, a set can be replaced by another one without a pause, and a file that
// is broken leaves what there was.
//
//	set.go      a set: what it is declared as, what is in force, and how it fares
//	build.go    its entries and its file, read into a new one
//	watch.go    files are looked at, and sets built again in the background
//
// Readers on a packet's way load one pointer. Who replaces it never waits for them.
//
// # Files
//
// A file is looked at four times a second (stat), which works on every file system and
// through any number of symbolic links. One that was renamed into its place is read at
// once. One that is written to in place is read when it has not changed between two looks,
// so a program that writes slowly may have half a list in force: write beside, and rename.
//
// Sets are built one after the other, on a thread of the lowest priority (nice 19), as a
// million entries take a second. Both the old and the new one are in memory until then.
package live
