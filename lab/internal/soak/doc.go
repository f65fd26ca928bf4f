// Package soak is `lab soak`: a mix of all sorts of flows through every placement for minutes, in which nothing may
// clash, get lost or be reordered.
//
// The flows that a seed gives are the same again; how they meet with the kernel's threads is not, so a failure may
// take several runs to come back.
package soak
