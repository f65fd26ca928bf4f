// Package cli is what the four commands share: how arguments become a run, and
// how its end becomes an exit status and a line on standard error.
//
// Flags, signals and wiring are the commands' own.
package cli
