package supervise

import (
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/fdstore"
)

// outer is the service manager that started the parent, if there is one.
type outer struct {
	log     *slog.Logger
	watched bool // it wants to hear WATCHDOG=1
	deaf    bool // it did not take the last message, which was said
}

func newOuter(log *slog.Logger) *outer {
	interval, err := daemon.SdWatchdogEnabled(false)
	return &outer{log: log, watched: err == nil && interval > 0}
}

// say tells it lines of sd_notify(3), or leaves it where it reads no more: the daemon comes first.
func (o *outer) say(state string) {
	within := fdstore.NotifyWithin
	if o.deaf || state == daemon.SdNotifyWatchdog {
		within = 0
	}
	err := fdstore.Notify(state, within)
	if err != nil && !o.deaf {
		o.log.Warn("tell the service manager", "error", err)
	}
	o.deaf = err != nil
}
