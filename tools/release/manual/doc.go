// Command manual makes manual pages and shell completions of what the programs say of themselves, so that these cannot
// lack a command or a flag.
//
// Each program prints its commands and flags as JSON (--describe). The completions are plain files: no shell runs the
// program, which may be privileged, when somebody presses a key.
package main
