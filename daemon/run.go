package main

import (
	"log/slog"

	"verdictd/daemon/internal/logs"
	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
)

type runCommand struct {
	configFlag
	socketFlag
}

// Run is the service.
func (c *runCommand) Run(signals *service.Signals) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	log, level := newLog(&cfg.Log)
	return service.Run(signals.Stop(), cfg, service.Options{
		Version: version, Log: log, Level: level, Confine: true, File: c.Config, Socket: c.Socket, Signals: signals,
	})
}

// newLog is that of the services, and its level.
func newLog(l *config.Log) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(logs.Level(l.Level))
	return logs.New(l.Format, level), level
}
