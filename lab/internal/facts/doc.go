// Package facts keeps the table of kernel faults true: it holds the table against the
// changelogs that a distributor ships with its kernels. Each commit has to be in the
// changelog of the stable version that the table says brought it, and in no other of
// that branch.
package facts
