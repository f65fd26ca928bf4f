// Package kernels is what all experiments in virtual machines share: which kernel is meant, the machine with the
// project's programs in it, and how its end is told.
//
// Each experiment is a package below. What runs in the machine is a hidden command of the lab, which is the
// machine's init as well.
package kernels
