package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"

	"verdictd/internal/cli"
	"verdictd/lab/internal/debian"
	"verdictd/lab/internal/facts"
)

// factsCmd is `lab facts`.
type factsCmd struct {
	Suite     []string `help:"Suites of Debian whose kernels' changelogs are fetched, if no --changelog is given. Default: those that have a kernel of their own." placeholder:"SUITE,..." default:"bullseye,bookworm,trixie,sid"`
	Changelog []string `help:"Changelogs of Debian's kernels, packed with gzip or not, instead of those of suites." placeholder:"FILE,..." type:"existingfile"`
	Mirror    string   `help:"Where Debian's packages are. Default: http://deb.debian.org/debian." placeholder:"URL"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
}

// Run is called by kong.
func (c *factsCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	var logs []*facts.Changelog
	read := func(name string, text []byte) error {
		log, err := parseChangelog(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		logs = append(logs, log)
		return nil
	}
	for _, name := range c.Changelog {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := read(name, text); err != nil {
			return err
		}
	}
	if len(c.Changelog) == 0 {
		shown := cli.NewProgress(std.err)
		defer shown.End()
		for i, suite := range c.Suite {
			shown.Step(i+1, len(c.Suite), "%s", suite)
			text, err := debian.Changelog(ctx, debian.Config{Wanted: suite, Mirror: c.Mirror,
				Progress: func(s string) { shown.Say("%s", s) }})
			if err != nil {
				return err
			}
			if err := read(suite, text); err != nil {
				return err
			}
		}
		shown.End()
	}
	d := facts.Run(version, logs)
	return std.conclude(ctx, c.JSON, d, d.OK())
}

// parseChangelog reads one that may be packed.
func parseChangelog(text []byte) (*facts.Changelog, error) {
	var r io.Reader = bufio.NewReader(bytes.NewReader(text))
	if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	}
	return facts.Parse(r)
}
