package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"verdictd/daemon/internal/fdstore"
	"verdictd/daemon/internal/privileges"
)

// confine gives up what the daemon does not need any more, where the options say that the process may.
func (s *service) confine() error {
	if !s.Confine {
		return nil
	}
	p := &s.cfg.Privileges
	c := privileges.Config{User: p.User, Kept: fdstore.Kept(), Capabilities: p.Drop, Seccomp: p.Seccomp, Landlock: p.Landlock}
	if s.File != "" {
		// With its folder, as editors replace files.
		c.Read = append(c.Read, filepath.Dir(s.File))
	}
	// The files of sets, likewise, and those of rules.
	for _, set := range s.cfg.Policy.Sets {
		c.Read = append(c.Read, folders(set.File)...)
	}
	c.Read = append(c.Read, folders(s.cfg.Policy.Include...)...)
	// It names certificates, which are often beside it, and is read at each request.
	c.Read = append(c.Read, folders(s.cfg.Metrics.WebConfig)...)
	c.Write = append(folders(s.cfg.Statistics.File, s.socketOf(s.cfg)), p.Paths...)
	if directory := s.cfg.Policy.Samples.Directory; directory != "" {
		c.Write = append(c.Write, directory)
	}
	for _, variable := range []string{"RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY"} {
		if list := os.Getenv(variable); list != "" {
			c.Write = append(c.Write, strings.Split(list, ":")...)
		}
	}
	confined, err := privileges.Confine(c)
	if err != nil {
		return fmt.Errorf("give privileges up: %w", err)
	}
	s.Log.Info("privileges are given up", "in force", confined.Done)
	for _, missing := range confined.Missing {
		s.Log.Warn("a privilege stays", "because", missing)
	}
	return nil
}

// folders are those of files, which are replaced there.
func folders(files ...string) (list []string) {
	for _, file := range files {
		if file != "" && file != "-" {
			list = append(list, filepath.Dir(file))
		}
	}
	return list
}
