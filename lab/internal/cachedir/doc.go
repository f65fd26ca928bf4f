// Package cachedir is the folder in which the lab keeps kernels, and the locks
// with which two runs do not make the same thing at once. All that the lab writes
// but temporary files and what it is asked to write is there.
package cachedir
