// Package logs exists so that the daemon's log reads well wherever it goes: as text for
// people or JSON for programs, with priorities and without a second time stamp in the
// journal, and with dropped packets where they are wanted.
package logs
