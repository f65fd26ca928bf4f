// Package faults holds tests only: what goes wrong on a machine besides packets, each on the real kernel with the
// program that people run. Interfaces, namespaces and queues go, memory, descriptors and disks are full, files are not
// what they are to be, rights are missing, clocks and processes stand still.
//
// A daemon that cannot do its work says why in a sentence with the cure, ends with a status, and leaves neither rules
// nor queues. One that can goes on. `lab faults` does the same under load, for hours.
package faults
