package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A command is a program, or one of its commands.
type command struct {
	Name      string
	Help      string
	Detail    string
	Arguments []argument
	Flags     []option // without those of the commands above it
	Commands  []command
}

type argument struct {
	Name     string
	Help     string
	Required bool
	Repeated bool
}

type option struct {
	Name      string
	Short     string
	Help      string
	Required  bool
	Negatable bool
	Value     string // "" where it takes none
	Values    []string
	File      bool
	Default   string
}

// sections are those of the manual: services in 8, what anybody may run in 1.
var sections = map[string]int{"verdictd": 8, "conntrackwatch": 8}

func section(program string) int {
	if s, ok := sections[program]; ok {
		return s
	}
	return 1
}

func main() {
	out := flag.String("out", "", "write to this folder")
	date := flag.String("date", "", "the day that the pages bear")
	version := flag.String("version", "", "the version that the pages bear")
	config := flag.String("config", "", "the configuration with every key, for its page")
	flag.Parse()
	if err := run(*out, *date, *version, *config, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

func run(out, date, version, config string, programs []string) error {
	p := pages{date: date, version: version}
	for _, file := range programs {
		text, err := exec.Command(file, "--describe").Output()
		if err != nil {
			return fmt.Errorf("%s --describe: %w", file, err)
		}
		var c command
		if err := json.Unmarshal(text, &c); err != nil {
			return fmt.Errorf("%s --describe: %w", file, err)
		}
		p.programs = append(p.programs, c.Name)
		for name, text := range map[string]string{
			fmt.Sprintf("man%d/%s.%d", section(c.Name), c.Name, section(c.Name)): p.program(c),
			"bash/" + c.Name:           bash(c),
			"zsh/_" + c.Name:           zsh(c),
			"fish/" + c.Name + ".fish": fish(c),
		} {
			if err := write(filepath.Join(out, name), text); err != nil {
				return err
			}
		}
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	return write(filepath.Join(out, "man5/verdictd.yaml.5"), p.configuration(string(text)))
}

func write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
