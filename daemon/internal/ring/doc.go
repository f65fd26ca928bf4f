// Package ring exists so that threads on a packet's way can hand something over without a
// lock, an allocation or a wait.
package ring
