package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

const (
	// maxIncluded is how many files are included at most, and maxIncludedBytes what they have together.
	maxIncluded      = 1000
	maxIncludedBytes = 8 << 20
)

// included is what a file that is included may have.
type included struct {
	Sets  []Set  `yaml:"sets"`
	Rules []Rule `yaml:"rules"`
}

// goneFromIncluded are keys that people expect in included files.
var goneFromIncluded = map[string]string{
	"policy":  "is one level too many: an included file has rules and sets at its top",
	"include": "is for the configuration alone: included files include no others",
}

// include appends rules and sets of included files to the policy.
func (f *file) include(p *Policy, read reader) {
	if len(p.Include) > 0 && read == nil {
		f.wrong("policy.include", "stands in a text that is no file, from which nothing can be included: write the rules here")
		return
	}
	seen := []os.FileInfo{}
	if own, err := os.Stat(f.name); err == nil && len(p.Include) > 0 {
		seen = append(seen, own)
	}
	bytes := 0
	for i, pattern := range p.Include {
		key := fmt.Sprintf("policy.include[%d]", i)
		if f.isBad(key) {
			continue
		}
		p.Include[i] = f.absolute(pattern)
		names, err := Matching(p.Include[i])
		if pattern == "" {
			err = errors.New("is empty: name a file, or take it out")
		}
		if err != nil {
			f.wrong(key, "%v", err)
			continue
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				f.wrong(key, "%v: correct the name, or take it out", err)
				continue
			}
			if j := slices.IndexFunc(seen, func(s os.FileInfo) bool { return os.SameFile(s, info) }); j >= 0 {
				f.wrong(key, "%s is included a second time: its rules would be there twice", name)
				continue
			}
			seen = append(seen, info)
			data, err := read(name)
			if bytes += len(data); err == nil && (bytes > maxIncludedBytes || len(seen) > maxIncluded) {
				err = fmt.Errorf("more than %d files or %d bytes are included", maxIncluded, maxIncludedBytes)
			}
			if err != nil {
				f.unread(key, err, p)
				continue
			}
			f.addPart(name, data, p)
		}
	}
}

// unread reports a file that cannot be included; what is wrong inside of it has its own place.
func (f *file) unread(key string, err error, to *Policy) {
	if inside, ok := errors.AsType[*KeyError](err); ok {
		p := &part{file: newFile(inside.File), rules: span{len(to.Rules), len(to.Rules)}, sets: span{len(to.Sets), len(to.Sets)}}
		p.problems = append(p.problems, inside)
		f.parts = append(f.parts, p)
		return
	}
	f.wrong(key, "%v", err)
}

func (f *file) addPart(name string, data []byte, to *Policy) {
	p := &part{file: newFile(name)}
	p.gone = goneFromIncluded
	var in included
	p.document(data, reflect.ValueOf(&in).Elem())
	p.rules = span{len(to.Rules), len(to.Rules) + len(in.Rules)}
	p.sets = span{len(to.Sets), len(to.Sets) + len(in.Sets)}
	to.Rules, to.Sets = append(to.Rules, in.Rules...), append(to.Sets, in.Sets...)
	f.parts = append(f.parts, p)
}

// absolute is a path that a file names, which counts from the file's own folder.
func (f *file) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	joined := filepath.Join(filepath.Dir(f.name), path)
	if abs, err := filepath.Abs(joined); err == nil {
		return abs
	}
	return joined
}

// Matching are the files that a pattern stands for, in the order of their names. Those that begin with a dot are not
// meant, as in a shell. A folder without such files is no error, and one that is not there is.
func Matching(pattern string) ([]string, error) {
	folder, name := filepath.Split(pattern)
	if !strings.ContainsAny(pattern, `*?[\`) {
		if info, err := os.Stat(pattern); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a folder: write %s", pattern, filepath.Join(pattern, "*.yaml"))
		}
		return []string{pattern}, nil
	}
	if strings.ContainsAny(folder, `*?[\`) {
		return nil, fmt.Errorf("%q has a pattern in the name of a folder: write folders out, each in an entry of its own", pattern)
	}
	if _, err := filepath.Match(name, ""); err != nil {
		return nil, fmt.Errorf("%q is no pattern: write one like %s", pattern, filepath.Join(folder, "*.yaml"))
	}
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no folder %s: make it, or take this out", folder)
	case err != nil:
		return nil, err
	}
	var names []string
	for _, e := range entries {
		hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(name, ".")
		if ok, err := filepath.Match(name, e.Name()); err == nil && ok && !hidden {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	return names, nil
}

// checkFiles looks for the files that sets name. They count from the folder of the file that has the set.
func (f *file) checkFiles(c *Config) {
	for i := range c.Policy.Sets {
		s, key := &c.Policy.Sets[i], fmt.Sprintf("policy.sets[%d].file", i)
		if s.File == "" || f.isBad(key) {
			continue
		}
		owner, _ := f.owner(key)
		s.File = owner.absolute(s.File)
		switch info, err := os.Stat(s.File); {
		case err != nil:
			f.wrong(key, "%v: correct the name, or make the file", err)
		case info.IsDir():
			f.wrong(key, "%s is a folder: name a file", s.File)
		}
	}
}
