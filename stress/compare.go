package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"verdictd/internal/cli"
	"verdictd/stress/internal/compare"
)

// compareCmd is `stress compare`.
type compareCmd struct {
	Before string   `arg:"" help:"A result file of stress or lab, with one result or several behind each other, or a directory of such files."`
	After  []string `arg:"" help:"The same, to be compared with the first; each one by itself."`

	FailOn string  `help:"Exit with 1 if a result meets one of these: 'clashes>0' in any sample, 'packets_per_second<-5%' as a change that is not by chance." placeholder:"FIGURE>X,..."`
	Alpha  float64 `help:"Probability below which a difference is not put down to chance." default:"0.05"`
	All    bool    `help:"Show the figures that never change as well."`
	JSON   string  `name:"json" help:"Write the comparison to a file; - is standard output, instead of the tables." placeholder:"FILE"`
	HTML   string  `name:"html" type:"page" help:"Write a page." placeholder:"FILE"`
}

// Run is called by kong.
func (c *compareCmd) Run(p *program) error {
	conditions, err := c.validate()
	if err != nil {
		return fmt.Errorf("%w of compare: %w", cli.ErrUsage, err)
	}
	for _, path := range []string{c.JSON, c.HTML} {
		if path == "" || path == "-" {
			continue
		}
		if err := cli.CanWrite(path); err != nil {
			return fmt.Errorf("the comparison could not be written: %w", err)
		}
	}
	before, err := compare.Read(c.Before)
	if err != nil {
		return fmt.Errorf("%w of compare: %w", cli.ErrUsage, err)
	}
	var failed error
	comparisons := []*compare.Comparison{}
	for _, path := range c.After {
		after, err := compare.Read(path)
		if err != nil {
			return fmt.Errorf("%w of compare: %w", cli.ErrUsage, err)
		}
		comparison, err := compare.Compare(before, after, c.Alpha)
		if err != nil {
			return fmt.Errorf("%w of compare: %w", cli.ErrUsage, err)
		}
		if err := comparison.Fail(conditions); err != nil {
			return fmt.Errorf("%w of compare: %w", cli.ErrUsage, err)
		}
		for _, f := range comparison.Failures {
			failed = errors.Join(failed, fmt.Errorf("compare: %s: %s", path, f))
		}
		comparisons = append(comparisons, comparison)
	}
	return errors.Join(c.write(p, comparisons), failed)
}

func (c *compareCmd) validate() ([]compare.Condition, error) {
	conditions, err := compare.ParseConditions(c.FailOn)
	if c.Alpha <= 0 || c.Alpha >= 1 {
		err = errors.Join(err, fmt.Errorf("alpha %g: want more than 0 and less than 1", c.Alpha))
	}
	if c.HTML != "" && len(c.After) > 1 {
		err = errors.Join(err, fmt.Errorf("html %s: a page has one comparison; give one result to compare with", c.HTML))
	}
	return conditions, err
}

func (c *compareCmd) write(p *program, comparisons []*compare.Comparison) error {
	var errs []error
	if c.JSON != "-" {
		for i, comparison := range comparisons {
			if i > 0 {
				fmt.Fprintln(p.stdout)
			}
			errs = append(errs, comparison.WriteText(p.stdout, c.All))
		}
	}
	if c.JSON != "" {
		errs = append(errs, p.toFile(c.JSON, func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			for _, comparison := range comparisons {
				if err := e.Encode(comparison); err != nil {
					return fmt.Errorf("write comparison: %w", err)
				}
			}
			return nil
		}))
	}
	if c.HTML != "" {
		errs = append(errs, p.toFile(c.HTML, comparisons[0].WriteHTML))
	}
	return errors.Join(errs...)
}

// toFile has a new file written, or standard output (-).
func (p *program) toFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(p.stdout)
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	if err := cli.WriteFile(path, b.Bytes()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}
