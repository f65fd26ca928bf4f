// Package soak is the experiment of `stress soak`: a mix of all sorts of flows for any length of time, none of whose
// packets may be lost, and no program may hold on to memory or descriptors.
package soak
