package main

import (
	"errors"
	"log/slog"

	"verdictd/daemon/internal/logs"
	"verdictd/daemon/internal/service"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
)

type runCommand struct {
	configFlag
	socketFlag
}

// Run is the service.
func (c *runCommand) Run(signals *service.Signals) error {
	cfg, err := c.loadFile()
	if err != nil {
		return err
	}
	log, level := newLog(&cfg.Log)
	err = service.Run(signals.Stop(), cfg.Config, service.Options{
		Version: version, Log: log, Level: level, Confine: true, File: c.Config, Socket: c.Socket, Signals: signals,
	})
	return placed(cfg, err)
}

// placed is an error of a service that names the places in its file, if there is one. What is wrong with the file
// itself no other start mends; what it names may be there at the next one.
func placed(cfg *config.File, err error) error {
	problems, ok := errors.AsType[translate.Problems](err)
	switch {
	case !ok || cfg == nil:
		return err
	case problems.OfFile():
		return configError{problemsOf(cfg, problems)}
	}
	return problemsOf(cfg, problems)
}

// newLog is that of the services, and its level.
func newLog(l *config.Log) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(logs.Level(l.Level))
	return logs.New(l.Format, level), level
}
