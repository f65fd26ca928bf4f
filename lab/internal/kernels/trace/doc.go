// Package trace is `lab kernel trace`: conntrackwatch trace against loads whose clashes are known one by one, and
// against the kernel's counters.
//
// [Inside] runs in the machine, and judges there.
package trace
