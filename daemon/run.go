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
	problems, ok := errors.AsType[translate.Problems](err)
	switch {
	case !ok:
		return err
	case problems.OfFile():
		return configError{problemsOf(cfg, problems)}
	}
	return problemsOf(cfg, problems) // what is wrong is not the file itself: another start may find it mended
}

// newLog is that of the services, and its level.
func newLog(l *config.Log) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(logs.Level(l.Level))
	return logs.New(l.Format, level), level
}
