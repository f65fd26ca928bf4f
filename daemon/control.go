package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"verdictd/daemon/internal/control"
	"verdictd/internal/config"
)

// socketFlag is the flag of the services and of those who ask them.
type socketFlag struct {
	Socket string `placeholder:"PATH" type:"path" env:"VERDICTD_SOCKET" help:"Control socket of the daemon. Without it: control.socket of the configuration."`
}

// askFlags are those of the commands that ask a running daemon.
type askFlags struct {
	configFlag
	socketFlag
}

// ask has f ask the daemon. Where nothing names a socket and no daemon has the one that
// is usual, the guard's is tried.
func (a *askFlags) ask(f func(*control.Client) error) error {
	path := a.Socket
	if path == "" {
		path = config.Socket(a.Config)
	}
	if path == "" {
		return fmt.Errorf("the daemon has no control socket, says control.socket in %s: set it and restart, or name one with --socket", a.Config)
	}
	err := f(control.NewClient(path))
	if path == config.DefaultSocket && a.Socket == "" && errors.Is(err, control.ErrNoDaemon) {
		if other := f(control.NewClient(config.DefaultGuardSocket)); !errors.Is(other, control.ErrNoDaemon) {
			return other
		}
	}
	return err
}

type statusCommand struct {
	askFlags
	JSON bool `name:"json" help:"Write JSON (docs/schema/verdictd-status.json)."`
}

// Run prints what the daemon tells of itself.
func (c *statusCommand) Run(ctx context.Context) error {
	return c.ask(func(client *control.Client) error {
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(s)
		}
		return s.WriteText(os.Stdout)
	})
}

type configCommand struct{ askFlags }

// Run prints the configuration in force.
func (c *configCommand) Run(ctx context.Context) error {
	return c.ask(func(client *control.Client) error {
		e, err := client.Effective(ctx)
		if err != nil {
			return err
		}
		_, err = os.Stdout.WriteString(e.YAML)
		return err
	})
}

type reloadCommand struct {
	askFlags
	JSON bool `name:"json" help:"Write JSON (docs/schema/verdictd-reload.json)."`
}

// Run has the daemon reload. Problems of the configuration are an error as those of
// check are.
func (c *reloadCommand) Run(ctx context.Context) error {
	return c.ask(func(client *control.Client) error {
		r, err := client.Reload(ctx)
		if err != nil {
			return err
		}
		var problems []error
		for i := range r.Problems {
			problems = append(problems, &r.Problems[i])
		}
		switch {
		case c.JSON:
			err = writeJSON(r)
		case r.Result == control.Done:
			fmt.Printf("reloaded %s: %s\n", r.File, strings.Join(r.Changed, ", "))
		case r.Result == control.Unchanged:
			fmt.Printf("reloaded %s: nothing has changed\n", r.File)
		}
		if len(problems) > 0 {
			return configError{errors.Join(append(problems, err)...)}
		}
		if r.Error != "" {
			return errors.Join(fmt.Errorf("the reload is refused, the configuration before stays in force: %s", r.Error), err)
		}
		return err
	})
}

// writeJSON writes a document to standard output.
func writeJSON(document any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}
