package main

import (
	"errors"
	"fmt"

	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/service"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

type rulesCommand struct {
	Apply  rulesApply  `cmd:"" kin:"install,add,load,up" help:"Install the rules, for a daemon that runs with rules.install: false."`
	Remove rulesRemove `cmd:"" kin:"uninstall,delete,flush,unload,down" help:"Remove the rules. Packets that wait for a verdict are dropped."`
	Show   rulesShow   `cmd:"" kin:"list,print,get" help:"Show the rules as the kernel has them."`
}

type rulesApply struct{ configFlag }

// Run installs the rules, or brings those that are there to what the configuration says,
// and leaves them.
func (c *rulesApply) Run() (err error) {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	// A daemon that has installed its rules itself has the table.
	claimed, err := guard.Claim(cfg.Rules.Table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Close()) }()
	installed, err := ruleset.Install(service.Rules(cfg))
	if err != nil {
		return err
	}
	if cfg.Rules.Placement == vocabulary.PlacementNone {
		fmt.Println("placement none: no rules to install")
		return nil
	}
	fmt.Printf("installed table inet %s (%s queue statement)\n", cfg.Rules.Table, installed.Kind())
	return nil
}

type rulesRemove struct{ configFlag }

// Run removes the rules.
func (c *rulesRemove) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if err := ruleset.Remove(cfg.Rules.Table); err != nil {
		return err
	}
	fmt.Printf("removed table inet %s\n", cfg.Rules.Table)
	return nil
}

type rulesShow struct{ configFlag }

// Run prints the rules.
func (c *rulesShow) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	text, err := ruleset.Show(cfg.Rules.Table)
	if err != nil {
		return err
	}
	fmt.Print(text)
	return nil
}
