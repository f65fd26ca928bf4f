package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Side is the samples of one side.
type Side struct {
	Name  string   `json:"name"`
	Files []string `json:"files"`
	// Documents is how many results the files held.
	Documents int `json:"documents"`
	// Skipped are results, or runs in them, that do not count, and why.
	Skipped []string `json:"skipped"`

	// Origins are the kinds of runs that the results are of, each once.
	Origins []Origin `json:"origins"`

	cases map[string]samples
	// facts are what else the documents say, each with all the values seen.
	facts map[string][]string
}

// samples are the values of each figure of a case.
type samples map[string][]float64

// descriptive are keys of a document that are no figures but say where and how they came about.
var descriptive = []string{"host", "config", "settings", "namespaces", "version", "versions", "scenario", "tool",
	"duration"}

// ignored are neither: they differ from run to run, or are derived.
var ignored = []string{"schema", "command", "started", "seed", "verdict", "planned", "variants", "ratios", "notes"}

// transient are descriptive keys that differ between any two runs and mean nothing.
var transient = []string{"seed", "sender_netns", "receiver_netns", "path"}

// Read reads one side: a file with one result or several behind each other, or a directory of such files (*.json).
func Read(path string) (*Side, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	s := &Side{Name: path, Files: []string{path}, Skipped: []string{}, cases: map[string]samples{},
		facts: map[string][]string{}}
	if info.IsDir() {
		if s.Files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil || len(s.Files) == 0 {
			return nil, errors.Join(fmt.Errorf("read results: there is no *.json in %s", path), err)
		}
	}
	for _, name := range s.Files {
		if err := s.readFile(name); err != nil {
			return nil, fmt.Errorf("read results of %s: %w", name, err)
		}
	}
	return s, nil
}

func (s *Side) readFile(name string) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return s.read(f, name)
}

// read takes the results of a file.
func (s *Side) read(r io.Reader, name string) error {
	d := json.NewDecoder(r)
	for n := 1; ; n++ {
		var document map[string]any
		switch err := d.Decode(&document); {
		case errors.Is(err, io.EOF) && n > 1:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("it is empty")
		case err != nil:
			return fmt.Errorf("result %d is no JSON object: %w", n, err)
		}
		k, err := kindOf(document)
		if err != nil {
			return fmt.Errorf("result %d: %w", n, err)
		}
		s.add(document, k, fmt.Sprintf("%s (result %d)", name, n))
	}
}

func (s *Side) add(document map[string]any, k *kind, name string) {
	s.Documents++
	s.originate(document)
	if incomplete, _ := document["incomplete"].(bool); incomplete {
		s.skip(name, "it is incomplete: its run did not come to an end")
		return
	}
	for _, key := range descriptive {
		if v, ok := document[key]; ok {
			s.describe(key, v)
		}
	}
	if k.list == "" {
		s.addRun(document, k.name, name)
		return
	}
	runs, _ := document[k.list].([]any)
	for _, r := range runs {
		if run, ok := r.(map[string]any); ok {
			s.addRun(run, identify(run, k.identity), name)
		}
	}
}

func (s *Side) addRun(run map[string]any, identity, name string) {
	for _, key := range []string{"error", "invalid"} {
		if why, _ := run[key].(string); why != "" {
			s.skip(name+" "+identity, why)
			return
		}
	}
	figures := map[string]float64{}
	for key, v := range run {
		if !slices.Contains(descriptive, key) && !slices.Contains(ignored, key) {
			collect(figures, key, v)
		}
	}
	derive(figures)
	if s.cases[identity] == nil {
		s.cases[identity] = samples{}
	}
	for name, v := range figures {
		s.cases[identity][name] = append(s.cases[identity][name], v)
	}
}

func (s *Side) skip(name, why string) { s.Skipped = append(s.Skipped, name+": "+why) }

// identify names a case by what its run has of the keys.
func identify(run map[string]any, keys []string) string {
	var words []string
	for _, key := range keys {
		if v, ok := run[key]; ok && v != nil {
			words = append(words, fmt.Sprintf("%s=%v", key, v))
		}
	}
	return strings.Join(words, " ")
}

// collect gathers the numbers below a key. Reports of the kernel count; other lists have no figure in common.
func collect(figures map[string]float64, name string, v any) {
	switch v := v.(type) {
	case float64:
		figures[name] = v
	case map[string]any:
		for key, inner := range v {
			collect(figures, name+"."+key, inner)
		}
	case []any:
		if name == "kernel_reports" {
			figures[name] = float64(len(v))
		}
	}
}

// describe gathers what is below a descriptive key, as text.
func (s *Side) describe(name string, v any) {
	var text string
	switch v := v.(type) {
	case nil:
		return
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(transient, key) {
				s.describe(name+"."+key, v[key])
			}
		}
		return
	case []any:
		if len(v) == 0 {
			return
		}
		for i, inner := range v {
			element := strconv.Itoa(i)
			if m, ok := inner.(map[string]any); ok {
				if role, ok := m["role"].(string); ok {
					element = role
				}
			}
			s.describe(name+"["+element+"]", inner)
		}
		return
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	default:
		text = fmt.Sprint(v)
	}
	if !slices.Contains(s.facts[name], text) {
		s.facts[name] = append(s.facts[name], text)
	}
}
