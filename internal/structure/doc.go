// Package structure holds the tests of what no single package can see: which
// package may import which package and library, how long a file may be, and
// whether the links of documents lead and the units in systemd/ can be run.
package structure
