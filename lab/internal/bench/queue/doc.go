// Package queue is `lab bench queue`: what a packet costs verdictd, other programs and the guard, in CPU time.
//
// The load is a closed loop on a CPU of its own: packets of settled flows, bursts of new flows, or new flows with
// an answer.
package queue
