package kbuild

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Fragment is a part of a kernel's configuration.
type Fragment struct {
	Name string // for errors
	Text string // lines as in .config; others are comments
	// Optional lines may come out otherwise, as not every kernel has them.
	Optional bool
}

// setting is one line of a configuration. The value of an option that is not set is "n".
type setting struct{ option, value string }

// settings reads lines as Kconfig writes them. Comments but "is not set" are passed over; everything else that is no
// setting is an error.
func settings(r io.Reader) ([]setting, error) {
	var all []setting
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if rest, ok := strings.CutPrefix(line, "# CONFIG_"); ok {
			if option, ok := strings.CutSuffix(rest, " is not set"); ok {
				all = append(all, setting{"CONFIG_" + option, "n"})
				continue
			}
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		option, value, ok := strings.Cut(line, "=")
		if !ok || !strings.HasPrefix(option, "CONFIG_") || value == "" || strings.ContainsAny(option, " \t") {
			return nil, fmt.Errorf("line %d: %q is neither CONFIG_OPTION=VALUE nor a comment", n, line)
		}
		all = append(all, setting{option, value})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return all, nil
}

func (f Fragment) settings() ([]setting, error) {
	all, err := settings(strings.NewReader(f.Text))
	if err != nil {
		return nil, fmt.Errorf("configuration fragment %s: %w", f.Name, err)
	}
	return all, nil
}

// merge is what KCONFIG_ALLCONFIG takes. Of several lines for one option the last counts.
func merge(fragments []Fragment) (string, error) {
	var order []string
	values := map[string]string{}
	for _, f := range fragments {
		all, err := f.settings()
		if err != nil {
			return "", err
		}
		for _, s := range all {
			if _, ok := values[s.option]; !ok {
				order = append(order, s.option)
			}
			values[s.option] = s.value
		}
	}
	var b strings.Builder
	for _, option := range order {
		fmt.Fprintf(&b, "%s=%s\n", option, values[option])
	}
	return b.String(), nil
}

// check compares what was asked for with what came out: Kconfig says nothing where an option does not exist, or needs
// another one.
func check(fragments []Fragment, config io.Reader) error {
	got, err := settings(config)
	if err != nil {
		return fmt.Errorf("the kernel's .config: %w", err)
	}
	out := make(map[string]string, len(got))
	for _, s := range got {
		out[s.option] = s.value
	}
	last := map[string]setting{} // by option: a later fragment overrides an earlier one
	source := map[string]string{}
	var order []string
	for _, f := range fragments {
		all, err := f.settings()
		if err != nil {
			return err
		}
		for _, s := range all {
			if f.Optional {
				delete(last, s.option)
				continue
			}
			if !slices.Contains(order, s.option) {
				order = append(order, s.option)
			}
			last[s.option], source[s.option] = s, f.Name
		}
	}
	var errs []error
	for _, option := range order {
		want, ok := last[option]
		have := out[option]
		if have == "" {
			have = "n"
		}
		if ok && have != want.value {
			errs = append(errs, fmt.Errorf("%s: asked for %s=%s, came out as %s", source[option], option, want.value,
				have))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("this source cannot be configured as the lab needs it (does it lack the option, or one "+
			"that it depends on?):\n%w", errors.Join(errs...))
	}
	return nil
}
