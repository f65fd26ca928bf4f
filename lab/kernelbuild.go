package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/kbuild"
)

// The configuration of the lab's kernels.
var (
	//go:embed kernel/lab.config
	labConfig string
	//go:embed kernel/optional.config
	optionalConfig string
	//go:embed kernel/kasan.config
	kasanConfig string
)

// kernelSource is where kernels are built from: the flags of all commands that build.
type kernelSource struct {
	Source string   `help:"Source of Linux: a folder, a tarball, or debian for Debian's linux-source-6.1, which is fetched if it is not installed. It is never written to." default:"debian" placeholder:"DIR|TARBALL|debian"`
	Config []string `help:"A file of CONFIG_ lines to add to the lab's configuration. May be repeated." type:"existingfile" placeholder:"FILE" sep:"none"`
}

// kernelBuildCmd is `lab kernel build`.
type kernelBuildCmd struct {
	kernelSource
	Variant kbuild.Variant `help:"fixed reads the conntrack entry again after its insertion, vulnerable does not (CVE-2022-49561); el7-shape is vulnerable in the way of CentOS 7, with the windows of its race widened." enum:"fixed,vulnerable,el7-shape" default:"fixed"`
	KASAN   bool           `name:"kasan" help:"Build KASAN in, which reports bad memory accesses. A use after free mostly goes unseen without it."`
	JSON    string         `name:"json" help:"Write what was built as JSON to FILE; - writes it to stdout, in place of the image's path." placeholder:"FILE"`
}

// builtImage is the JSON result.
type builtImage struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	kbuild.Image
	Cached bool `json:"cached"`
}

// Run is called by kong.
func (c *kernelBuildCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	image, err := c.build(ctx, c.Variant, c.KASAN, std.err)
	if err != nil {
		return err
	}
	if c.JSON != "" {
		err = std.writeDocument(c.JSON, builtImage{1, image.Path, image, image.Cached})
	}
	if c.JSON != "-" {
		fmt.Fprintln(std.out, image.Path)
	}
	return err
}

// build gives one kernel, with its progress on w.
func (s *kernelSource) build(ctx context.Context, v kbuild.Variant, kasan bool, w io.Writer) (kbuild.Image, error) {
	fragments := []kbuild.Fragment{
		{Name: "lab.config", Text: labConfig},
		{Name: "optional.config", Text: optionalConfig, Optional: true},
	}
	for _, path := range s.Config {
		text, err := os.ReadFile(path)
		if err != nil {
			return kbuild.Image{}, fmt.Errorf("read configuration: %w", err)
		}
		fragments = append(fragments, kbuild.Fragment{Name: path, Text: string(text)})
	}
	name := string(v) + " kernel"
	if kasan {
		name += " with KASAN"
	}
	show := &buildProgress{w: w, terminal: cli.IsTerminal(w), name: name}
	image, err := kbuild.Build(ctx, kbuild.Config{
		Source: s.Source, Variant: v, KASAN: kasan, Fragments: fragments,
		KASANFragment: kbuild.Fragment{Name: "kasan.config", Text: kasanConfig}, Progress: show.step,
	})
	show.clear()
	if err != nil {
		return image, fmt.Errorf("build the %s: %w", name, err)
	}
	how := fmt.Sprintf("built in %.0f s", image.Seconds)
	if image.Cached {
		how = "from the cache"
	}
	fmt.Fprintf(w, "lab: %s, %s\n", image, how)
	return image, nil
}

// buildProgress shows steps: on a terminal in one line that is rewritten, elsewhere when the step changes, and every
// quarter of a minute.
type buildProgress struct {
	w        io.Writer
	terminal bool
	name     string
	last     string
	said     time.Time
}

func (p *buildProgress) step(s kbuild.Step) {
	line := fmt.Sprintf("%s: %s", p.name, describeStep(s))
	const often = 15 * time.Second
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	case s.What != p.last || time.Since(p.said) >= often:
		fmt.Fprintf(p.w, "lab: %s\n", line)
		p.last, p.said = s.What, time.Now()
	}
}

// describeStep says how far a step is, and that the rest is an estimate.
func describeStep(s kbuild.Step) string {
	text := s.What
	switch {
	case s.Total > 0:
		text += fmt.Sprintf(", %d of about %d steps in %v", s.Done, s.Total, s.Elapsed.Round(time.Second))
	case s.Done > 0:
		text += fmt.Sprintf(", %d steps in %v, more than the last time", s.Done, s.Elapsed.Round(time.Second))
	}
	if s.Left > 0 {
		text += fmt.Sprintf(", about %v left", s.Left.Round(time.Second))
	}
	return text
}

func (p *buildProgress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
