// Package structure holds the tests of what no single package can see: which
// package may import which, how long a file may be, and whether the commands in
// README.md and the unit in systemd/ are such that they can be run.
//
// Which libraries may be used where is in .golangci.yml (depguard).
package structure
