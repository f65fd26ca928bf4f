// Package kbuild builds the kernels of the lab: small ones, from a source of the
// user's choice, with the fault that verdictd is about put in or taken out.
//
// It exists because an experiment needs two kernels that differ in the fault and
// in nothing else. So both come from one source, and a [Variant] is an edit of it
// (edit.go) that is made only where the source has exactly the lines which the
// edit knows. A source that looks otherwise is refused: a "vulnerable" kernel that
// is not would prove anything.
//
// # The cache
//
// A finished image is kept by what went into it ([Image.Key]): the source, the
// configuration, the variant, the compiler. It never changes and is put in place
// by a rename. The unpacked source and the objects of the last build are kept
// besides (some 2 GB), as a second variant from the same objects takes half a
// minute, where a first one takes minutes. One build works in a tree at a time
// (flock); a second one waits, and mostly finds its image finished then.
//
// # Traps
//
//   - The user's source is never written to: a folder is copied, by names, sizes and times.
//   - make's children outlive it when it alone is killed; it has a process group of
//     its own, and that is what gets the signal.
//   - Kconfig drops what it is asked for and cannot have, without a word. The
//     configuration is therefore compared with the fragment afterwards (fragment.go).
//   - Building with other CFLAGS in the same object tree compiles everything again, so
//     kernels with and without KASAN have a tree of objects each.
//
// # Debugging
//
// make's whole output is in build.log beside the objects; an error quotes its end.
package kbuild
