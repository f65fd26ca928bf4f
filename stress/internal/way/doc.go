// Package way is what the packets of a scenario go through: namespaces that somebody else made, or ones that are made
// for the run and go away with it.
package way
