package fdstore

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// NotifyWithin is a bound for Notify where the message matters.
const NotifyWithin = 200 * time.Millisecond

// Notify tells lines of sd_notify(3) to whoever started this process, if that wants to hear any. It waits for room for
// so long, or not at all: one that reads no more must not keep a daemon from its packets, nor a keeper from its daemon.
// go-systemd's SdNotify has no bound.
func Notify(state string, within time.Duration) (err error) {
	address := os.Getenv(variableSocket)
	if address == "" {
		return nil
	}
	flags := unix.MSG_NOSIGNAL
	if within <= 0 {
		flags |= unix.MSG_DONTWAIT
	}
	fd, err := connect(address, within)
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.Send(fd, []byte(state), flags); err != nil {
		return fmt.Errorf("tell %.20q: %w", state, err)
	}
	return nil
}
