package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
)

// Modules come first, and those that bring the exposure only where the guard needs them.
func TestModulesThatAreLoaded(t *testing.T) {
	for _, tt := range []struct {
		install bool
		want    []kernel.Part
	}{
		{true, []kernel.Part{kernel.PartQueue, kernel.PartTables}},
		{false, []kernel.Part{kernel.PartQueue}},
	} {
		cfg := config.Default()
		cfg.Rules.Install = tt.install
		var asked []kernel.Part
		err := loadModules(t.Context(), cfg, func(_ context.Context, parts ...kernel.Part) error { asked = parts; return nil })
		if err != nil || !slices.Equal(asked, tt.want) {
			t.Errorf("install %v: asked for %v, %v; want %v", tt.install, asked, err, tt.want)
		}
	}
}

// A kernel without its module ends the start, with the reason.
func TestModuleThatDoesNotCome(t *testing.T) {
	err := loadModules(t.Context(), config.Default(), func(context.Context, ...kernel.Part) error { return kernel.ErrNotThere })
	if !errors.Is(err, kernel.ErrNotThere) || !strings.HasPrefix(err.Error(), "start: ") {
		t.Error(err)
	}
}
