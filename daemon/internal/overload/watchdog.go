package overload

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/fdstore"
)

// watchdog feeds the service manager's, where it has one for this process.
type watchdog struct {
	every time.Duration // 0: there is none
	fed   time.Time
}

// newWatchdog reads WATCHDOG_USEC and WATCHDOG_PID, of sd_watchdog_enabled(3).
func newWatchdog(log *slog.Logger) watchdog {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not fed: WATCHDOG_USEC cannot be read", "error", err)
	}
	return watchdog{every: limit / 3}
}

// feed tells that all workers move, if it is time to.
func (w *watchdog) feed(log *slog.Logger, now time.Time) {
	if w.every <= 0 || now.Sub(w.fed) < w.every {
		return
	}
	w.fed = now
	if err := fdstore.Notify(daemon.SdNotifyWatchdog, 0); err != nil {
		log.Warn("feed the service manager's watchdog", "error", err)
	}
}
