// Package config is the daemon's configuration file: what it may say, what it
// says by default, and what is wrong with it.
//
// It is strict because a verdict daemon that runs with other settings than its
// operator wrote is worse than one that does not start. A key that does not
// exist, a key written twice, a value out of range and settings that
// contradict each other are errors; nothing is clamped or ignored. All problems
// are reported at once, each with its line, so that one edit mends the file.
//
// The decoding is driven by the struct's yaml tags but is not that of the yaml
// package, which stops at the first problem. To write a file from a program,
// change what Default returns and take its YAML.
package config
