package testbed

import (
	"fmt"
	"os"
	"path/filepath"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
)

// StartDaemon starts verdictd with a configuration, in the namespace that has the queue.
func (g *Group) StartDaemon(ns *netlab.NetNS, verdictd string, c *config.Config) (*Process, error) {
	path, err := g.WriteConfig("verdictd.yaml", c)
	if err != nil {
		return nil, err
	}
	return g.StartService(ns, verdictd, "run", "--config", path)
}

// WriteConfig writes a configuration into the group's directory.
func (g *Group) WriteConfig(name string, c *config.Config) (path string, err error) {
	quiet := *c
	if quiet.Control.Socket == config.DefaultSocket {
		quiet.Control.Socket = "" // several daemons run at one time
	}
	text, err := quiet.YAML()
	if err != nil {
		return "", err
	}
	path = filepath.Join(g.Dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("write verdictd's configuration: %w", err)
	}
	return path, nil
}

// startGuard starts verdictd guard and waits until it holds.
func (g *Group) startGuard(ns *netlab.NetNS, verdictd string, c *config.Config) (*Process, error) {
	path, err := g.WriteConfig("guard.yaml", guardConfig(c))
	if err != nil {
		return nil, err
	}
	return g.StartService(ns, verdictd, "guard", "--config", path)
}

// guardConfig is what verdictd guard is to know of a daemon's configuration: the guard and the statistics, but
// nothing of the rules, which it reads.
func guardConfig(c *config.Config) *config.Config {
	out := config.Default()
	out.Guard, out.Statistics = c.Guard, c.Statistics
	return out
}
