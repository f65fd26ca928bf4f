package supervise

import (
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
)

// outer is the service manager that started the parent, if there is one.
type outer struct {
	log     *slog.Logger
	watched bool // it wants to hear WATCHDOG=1
}

func newOuter(log *slog.Logger) *outer {
	interval, err := daemon.SdWatchdogEnabled(false)
	return &outer{log: log, watched: err == nil && interval > 0}
}

// say tells it lines of sd_notify(3).
func (o *outer) say(state string) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	if _, err := daemon.SdNotify(false, state); err != nil {
		o.log.Warn("tell the service manager", "error", err)
	}
}
