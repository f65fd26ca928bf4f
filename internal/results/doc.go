// Package results is the result file of stress, for the program that writes it and for those that read it: what a
// result came from, and the document of each scenario.
//
// A result file is one JSON object: the [Header] with the command line, the program's version, the machine and the
// namespaces that packets went through, then what the kernel reported meanwhile ([crash.Findings]), then the figures of
// the scenario ([Figures]). A result without the former cannot be repeated, and two of them cannot be compared. The
// lab's documents begin with the same description of the machine ([Host]).
//
// What cannot be read is left out, and is said so where its absence could be taken for a value. Nothing here needs
// privileges.
package results
