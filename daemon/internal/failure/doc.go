// Package failure decides for packets where no daemon comes back to judge them: whoever outlives the daemon carries its
// configuration's choice (on_failure) out.
//
// The daemon says beforehand what is to be done (Plan), as its configuration may be what is broken later:
//
//	plan.go     what the daemon says, and how it is written
//	release.go  carried out by a parent that holds the daemon's sockets, or by a command without them
//	unit.go     when a systemd unit's command is to do so, by what the manager tells it
package failure
