package main

import (
	"fmt"

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
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

type checkCommand struct{ configFlag }

// Run checks the configuration.
func (c *checkCommand) Run() error {
	if _, err := c.load(); err != nil {
		return err
	}
	fmt.Printf("%s: ok\n", c.Config)
	return nil
}
