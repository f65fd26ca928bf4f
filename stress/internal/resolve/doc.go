// Package resolve is the experiment of `stress dns`: names that are resolved as C libraries do, and how long that
// takes.
package resolve
