package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"verdictd/daemon/internal/advice"
	"verdictd/daemon/internal/translate"
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

func (f *configFlag) loadFile() (*config.File, error) {
	cfg, err := config.LoadFile(f.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, configError{fmt.Errorf("%w: name another by --config FILE, or write this one: what differs from the defaults, of which configs/verdictd.yaml has all", err)}
	}
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

func (f *configFlag) load() (*config.Config, error) {
	cfg, err := f.loadFile()
	if err != nil {
		return nil, err
	}
	return cfg.Config, nil
}

type checkCommand struct {
	configFlag
	Strict bool          `help:"Exit with 1 where there are warnings."`
	Rate   int           `placeholder:"N" help:"Packets a second: whether the queues take all that comes while the daemon is restarted. Without it: that is not asked."`
	Gap    time.Duration `default:"500ms" help:"How long that is, with --rate. Default: ${default}."`
	Bytes  int           `default:"1500" help:"How long a packet is, with --rate. Default: ${default}."`
}

// Run checks the configuration and the files that it names, and warns of what is probably not meant.
func (c *checkCommand) Run() error {
	cfg, err := c.loadFile()
	if err != nil {
		return err
	}
	warnings, copied, err := examine(cfg)
	if err != nil {
		return configError{err}
	}
	for _, w := range warnings {
		fmt.Fprintf(os.Stderr, "%s:%d:%d: warning: %s: %s\n", w.File, w.Line, w.Column, w.Key, w.Text)
	}
	if c.Rate > 0 {
		if words := cfg.Bears(config.Gap{Rate: c.Rate, Length: c.Gap, Bytes: min(c.Bytes, copied)}); len(words) > 0 {
			return fmt.Errorf("packets are lost while the daemon is restarted: %s", strings.Join(words, "; "))
		}
	}
	if len(warnings) > 0 && c.Strict {
		return fmt.Errorf("%s: %d warnings", c.Config, len(warnings))
	}
	fmt.Printf("%s: ok\n", c.Config)
	return nil
}

// examine reads the sets, compiles the policy, and returns what is probably not meant, and how many
// bytes of each packet are copied for the policy.
func examine(f *config.File) (warnings []*config.KeyError, copied int, err error) {
	sets, problems := translate.Sets(&f.Policy, nil)
	if len(problems) == 0 {
		rules, err := translate.Policy(&f.Policy, sets, nil)
		switch {
		case err == nil:
			var c translate.Copied
			c, problems = translate.CopiedBy(f.Config, rules.Needs())
			problems = append(problems, translate.Contradictions(f.Config, rules.Needs())...)
			copied = int(c.Bytes)
		case !errors.As(err, &problems):
			return nil, 0, err
		}
	}
	if len(problems) > 0 {
		return nil, 0, problemsOf(f, problems)
	}
	return advice.Of(f, sets), copied, nil
}

// problemsOf are problems with their lines.
func problemsOf(f *config.File, problems translate.Problems) error {
	var errs []error
	for _, p := range problems {
		errs = append(errs, f.Problem(p.Key, "%s", p.Text))
	}
	return errors.Join(errs...)
}
