package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"time"

	"verdictd/lab/internal/kbuild"
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

// kernelBuilder says what kernels are built from.
type kernelBuilder struct {
	Source    string   // as [kbuild.Config] has it
	Fragments []string // files of CONFIG_ lines that are added to the lab's configuration
}

// builtImageSchema is the version of the document of `lab kernel build --json`.
const builtImageSchema = 1

// builtImage is the document of `lab kernel build --json`.
type builtImage struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	kbuild.Image
	Cached bool `json:"cached"`
}

func newBuiltImage(image kbuild.Image) *builtImage {
	return &builtImage{builtImageSchema, image.Path, image, image.Cached}
}

// build gives one kernel, with its progress on w.
func (s *kernelBuilder) build(ctx context.Context, v kbuild.Variant, kasan bool, w io.Writer) (kbuild.Image, error) {
	fragments := []kbuild.Fragment{
		{Name: "lab.config", Text: labConfig},
		{Name: "optional.config", Text: optionalConfig, Optional: true},
	}
	for _, path := range s.Fragments {
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
	show := &buildProgress{progressLine: newProgressLine(w), name: name}
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
	*progressLine
	name string
	last string
	said time.Time
}

func (p *buildProgress) step(s kbuild.Step) {
	line := fmt.Sprintf("%s: %s", p.name, describeStep(s))
	const often = 15 * time.Second
	switch {
	case p.terminal:
		p.rewrite("%s", line)
	case s.What != p.last || time.Since(p.said) >= often:
		p.say("lab: %s", line)
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
