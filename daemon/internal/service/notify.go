package service

import (
	"fmt"
	"net"
	"os"
	"time"
)

// notifyWithin bounds the wait for room at whoever takes notifications. One that reads no
// more must not keep packets' rules from being followed; go-systemd has no bound.
const notifyWithin = 200 * time.Millisecond

// notify tells systemd, or whoever set NOTIFY_SOCKET (sd_notify(3)).
func (s *service) notify(state string) {
	if err := notify(os.Getenv("NOTIFY_SOCKET"), state); err != nil {
		s.Log.Warn("notify the service manager", "error", err)
	}
}

func notify(socket, state string) error {
	if socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetWriteDeadline(time.Now().Add(notifyWithin)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell %.20q: %w", state, err)
	}
	return nil
}
