// Package compare is `lab kernel compare`: the same scenarios on two kernels in turns, for `stress compare` to say
// what changed.
package compare
