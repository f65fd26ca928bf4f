package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/conntrackwatch/internal/stats"
)

// counting is `conntrackwatch stats` at work, over namespaces that come and go.
type counting struct {
	*statsCmd
	set     *observe.Set
	out     output
	options stats.Options
	all     []*counted
}

// counted is a namespace.
type counted struct {
	*stats.Readings
	source *observe.Source
	away   bool // it could not be read the last time, which was said
}

// begin takes the first reading of namespaces that are new, and prints what was counted
// of those that are gone. Those named at the start have to be there then.
func (c *counting) begin() error {
	first := c.all == nil
	sources := c.set.Sources()
	var all []*counted
	for _, one := range c.all {
		if slices.Contains(sources, one.source) {
			all = append(all, one)
			continue
		}
		fmt.Fprintf(c.out.remarks, "conntrackwatch: network namespace %s is gone\n", one.source.Name)
		if err := c.total(one.SoFar()); err != nil {
			return err
		}
	}
	for _, source := range sources {
		if slices.ContainsFunc(all, func(o *counted) bool { return o.source == source }) {
			continue
		}
		r, err := stats.Begin(source, c.options)
		switch {
		case err == nil:
			all = append(all, &counted{Readings: r, source: source})
		case first && !c.AllNetNS:
			return err
		default:
			fmt.Fprintf(c.out.remarks, "conntrackwatch: left out: %v\n", err)
		}
	}
	c.all = all
	return nil
}

// total prints all that was counted of a namespace.
func (c *counting) total(result *stats.Result) error {
	if c.Interval > 0 && c.JSON {
		return printLine(c.out, result)
	}
	return c.print(c.out, result)
}

// look is how often namespaces are looked for where no sample is printed.
const look = time.Second

// run prints a sample of each namespace every interval until ctx is done, and what was
// counted so far when it is asked. The last sample, of less than an interval, is left to
// last.
func (c *counting) run(ctx context.Context, asked <-chan struct{}) error {
	every := look
	if c.Interval > 0 {
		every = c.Interval
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			if err := c.soFar(); err != nil {
				return err
			}
			continue
		case <-tick.C:
		}
		if c.Interval == 0 {
			if err := c.begin(); err != nil {
				return err
			}
			continue
		}
		const page = 20 // intervals to a header, as vmstat has it
		if err := c.sample(n%page == 0); err != nil {
			return err
		}
		n++
	}
}

// soFar prints what was counted of each namespace.
func (c *counting) soFar() error {
	if err := c.begin(); err != nil {
		return err
	}
	for _, one := range c.all {
		if c.Interval == 0 {
			c.next(one)
		}
		if err := c.print(c.out, one.SoFar()); err != nil {
			return err
		}
	}
	return nil
}

// sample prints a sample of each namespace.
func (c *counting) sample(header bool) error {
	if err := c.begin(); err != nil {
		return err
	}
	for _, one := range c.all {
		result := c.next(one)
		if result == nil {
			continue
		}
		var text textWriter = &stats.Row{Result: result, Header: header}
		header = false
		if err := c.line(result, text); err != nil {
			return err
		}
	}
	return nil
}

// line prints a result as a line, of JSON or of text.
func (c *counting) line(result *stats.Result, text textWriter) error {
	if c.JSON {
		return printLine(c.out, result)
	}
	return writeText(c.out, text)
}

// next reads a namespace; nil: it cannot be read now, which is said once.
func (c *counting) next(one *counted) *stats.Result {
	result, err := one.Next()
	if err != nil {
		if !one.away {
			fmt.Fprintf(c.out.remarks, "conntrackwatch: %v\n", err)
		}
		one.away = true
		return nil
	}
	if one.away {
		fmt.Fprintf(c.out.remarks, "conntrackwatch: network namespace %s is there again\n", one.source.Name)
	}
	one.away = false
	return result
}

// last prints the end of a namespace's counting: with an interval a last, shorter one, and then the whole.
func (c *counting) last(one *counted) error {
	result := c.next(one)
	if result == nil {
		result = one.SoFar()
	}
	if c.Interval > 0 && !c.JSON && result.Last != nil {
		if err := writeText(c.out, &stats.Row{Result: result}); err != nil {
			return err
		}
	}
	return c.total(result)
}
