// Package record keeps what a scenario measures, whatever becomes of the machine meanwhile: in a file that is whole at
// any time, and with what the kernel reported while the scenario ran.
//
// A [Record] is open while a scenario runs. Its file says from the start on what the run began with, is marked
// incomplete until the end, and is written again when the scenario has measured more or the kernel has reported
// something: what is new is written beside the file, brought to the disk and renamed. A report of the kernel is told on
// standard error at once, and fails the run.
package record
