package service

import "verdictd/daemon/internal/fdstore"

// notify tells systemd, or whoever set NOTIFY_SOCKET (sd_notify(3)).
func (s *service) notify(state string) {
	if err := fdstore.Notify(state, fdstore.NotifyWithin); err != nil {
		s.Log.Warn("notify the service manager", "error", err)
	}
}
