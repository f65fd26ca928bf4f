package installed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// referenceUnit is the service that the C reference is.
const referenceUnit = "reference.service"

// referenceRules queue to it what the service's rules queue, with nothing of a guard.
const referenceRules = `table inet reference {
 chain output {
  type filter hook output priority -150
  udp dport { 9997, 9998, 9999 } queue flags bypass to 0
  udp sport 9997 queue flags bypass to 0
 }
}
`

// reference has the C reference, as a unit that systemd starts whenever it ends, go
// through what the service went through, as far as it can: it knows no reload, and nothing
// of it is upgraded.
func (g *guest) reference(ctx context.Context) (string, error) {
	if _, err := os.Stat(referencePath); err != nil {
		return "left out: no --reference", nil //nolint:nilerr // it is not wanted
	}
	const rules = "/root/reference.nft"
	if err := os.WriteFile(rules, []byte(referenceRules), 0o600); err != nil {
		return "", err
	}
	length, buffer := g.room()
	if _, err := run(ctx, "systemd-run", "--unit", referenceUnit, "--service-type=notify", "-p", "Restart=always", "-p", "RestartSec=0",
		"-p", "StartLimitIntervalSec=0", referencePath, "--queue", "0", "--max-length", strconv.FormatInt(length, 10),
		"--receive-buffer", strconv.FormatInt(2*buffer, 10), "--drop-port", droppedPort); err != nil {
		return "", err
	}
	if _, err := run(ctx, "nft", "-f", rules); err != nil {
		return "", err
	}
	r, err := g.during(ctx, func() error {
		return errors.Join(
			g.times(g.Restarts, "reference: restart", func(int) error { return g.other(ctx, referenceUnit, "systemctl", "restart", referenceUnit) }),
			g.times(g.Kills, "reference: kill", func(int) error {
				return g.other(ctx, referenceUnit, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", referenceUnit)
			}))
	})
	if r == nil {
		return "", err
	}
	text, amiss := r.judge()
	if amiss != nil {
		text = amiss.Error()
	}
	return fmt.Sprintf("%d restarts, %d kills: %s", g.Restarts, g.Kills, text),
		errors.Join(err, all(ctx, "systemctl stop "+referenceUnit, "nft delete table inet reference"))
}
