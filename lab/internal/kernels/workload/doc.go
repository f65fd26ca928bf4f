// Package workload is one row of the matrix in a virtual machine whose kernel may break: the row itself inside
// ([Workload]), and the machines that run it ([Machines]).
//
// What the row knows goes to stdout line by line, so that a machine that breaks leaves something.
package workload
