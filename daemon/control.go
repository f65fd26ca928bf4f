package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/audit"
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

// instances are the control sockets of `verdictd@NAME`: systemd/verdictd@.service.
const instances = "/run/verdictd-*/control.sock"

// sockets are those of all daemons that may run here: the one that is named, or the
// configuration's, the usual ones and those of instances.
func (a *askFlags) sockets() (list []string) {
	if a.Socket != "" {
		return []string{a.Socket}
	}
	others, _ := filepath.Glob(instances) // the pattern is well formed
	for _, path := range append([]string{config.Socket(a.Config), config.DefaultSocket, config.DefaultGuardSocket}, others...) {
		if path != "" && !slices.Contains(list, path) {
			list = append(list, path)
		}
	}
	return list
}

// daemons asks those that run what they guard. Where none runs there is none to tell of.
func (a *askFlags) daemons(ctx context.Context) (list []audit.Daemon) {
	here := netNS()
	for _, path := range a.sockets() {
		d := audit.Daemon{Socket: path}
		switch said, err := control.NewClient(path).Audit(ctx); {
		case errors.Is(err, control.ErrNoDaemon):
			continue
		case err != nil:
			d.Error = err.Error()
		case len(said.Daemons) != 1:
			d.Error = "it is of another version than this program"
		default:
			d = said.Daemons[0]
			d.Socket, d.Elsewhere = path, here == 0 || d.NetNS != here
		}
		list = append(list, d)
	}
	return list
}

// netNS is the number of the network namespace that this program looks at; 0: it is not
// known.
func netNS() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
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
