package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/config"
)

// configFlag is the flag of all commands that read the configuration.
type configFlag struct {
	Config string `default:"/etc/verdictd/verdictd.yaml" placeholder:"FILE" type:"path" help:"Configuration (YAML); see configs/verdictd.yaml. Default: ${default}."`
}

// configError keeps the list of problems as it is: a line each, file:line:column.
type configError struct{ error }

func (e configError) Unwrap() []error { return []error{cli.ErrListed, e.error} }

func (f *configFlag) load() (*config.Config, error) {
	cfg, err := config.Load(f.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, configError{fmt.Errorf("%w: name another by --config FILE, or write this one: what differs from the defaults, of which configs/verdictd.yaml has all", err)}
	}
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

type checkCommand struct {
	configFlag
	Rate  int           `placeholder:"N" help:"Packets a second: whether the queues take all that comes while the daemon is restarted. Without it: that is not asked."`
	Gap   time.Duration `default:"500ms" help:"How long that is, with --rate. Default: ${default}."`
	Bytes int           `default:"1500" help:"How long a packet is, with --rate. Default: ${default}."`
}

// Run checks the configuration.
func (c *checkCommand) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if c.Rate > 0 {
		if words := cfg.Bears(config.Gap{Rate: c.Rate, Length: c.Gap, Bytes: c.Bytes}); len(words) > 0 {
			return fmt.Errorf("packets are lost while the daemon is restarted: %s", strings.Join(words, "; "))
		}
	}
	fmt.Printf("%s: ok\n", c.Config)
	return nil
}
