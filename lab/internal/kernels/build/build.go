package build

import (
	"context"

	_ "embed"
	"fmt"
	"io"
	"os"
	"time"

	"verdictd/internal/cli"
	"verdictd/lab/internal/kbuild"
)

// The configuration of the lab's kernels.
var (
	//go:embed lab.config
	labConfig string
	//go:embed optional.config
	optionalConfig string
	//go:embed kasan.config
	kasanConfig string
)

// Builder says what kernels are built from.
type Builder struct {
	Source    string   // as [kbuild.Config] has it
	Fragments []string // files of CONFIG_ lines that are added to the lab's configuration
}

// Schema is the version of the document of `lab kernel build --json`.
const Schema = 1

// Document is the document of `lab kernel build --json`.
type Document struct {
	Schema int    `json:"schema"`
	Path   string `json:"path"`
	kbuild.Image
	Cached bool `json:"cached"`
}

// NewDocument is what is written of an image.
func NewDocument(image kbuild.Image) *Document {
	return &Document{Schema, image.Path, image, image.Cached}
}

// Build gives one kernel, with its progress on w.
func (s *Builder) Build(ctx context.Context, v kbuild.Variant, kasan bool, w io.Writer) (kbuild.Image, error) {
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
	show := &shownSteps{Progress: cli.NewProgress(w), name: name}
	defer show.End()
	image, err := kbuild.Build(ctx, kbuild.Config{
		Source: s.Source, Variant: v, KASAN: kasan, Fragments: fragments,
		KASANFragment: kbuild.Fragment{Name: "kasan.config", Text: kasanConfig}, Progress: show.step,
	})
	show.End()
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

// shownSteps shows steps, and elsewhere than on a terminal a line when the step changes.
type shownSteps struct {
	*cli.Progress
	name string
	last string
}

func (p *shownSteps) step(s kbuild.Step) {
	line := fmt.Sprintf("%s: %s", p.name, describeStep(s))
	p.Part(0, "%s", line)
	if s.What != p.last && !p.Terminal {
		p.Note("lab: %s", line)
	}
	p.last = s.What
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
