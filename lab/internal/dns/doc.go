// Package dns is `lab dns`: what resolvers notice of a queue and of each guard.
//
// Guard drop is the control of the other rows: under it resolvers have to wait for their timeout.
package dns
