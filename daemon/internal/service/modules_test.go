package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/config"
	"verdictd/internal/modules"
)

// Modules come first, and those that bring the exposure only where the guard needs them.
func TestModulesThatAreLoaded(t *testing.T) {
	for _, tt := range []struct {
		install bool
		want    []modules.Part
	}{
		{true, []modules.Part{modules.PartQueue, modules.PartTables}},
		{false, []modules.Part{modules.PartQueue}},
	} {
		cfg := config.Default()
		cfg.Rules.Install = tt.install
		var asked []modules.Part
		err := loadModules(t.Context(), cfg, func(_ context.Context, parts ...modules.Part) error { asked = parts; return nil })
		if err != nil || !slices.Equal(asked, tt.want) {
			t.Errorf("install %v: asked for %v, %v; want %v", tt.install, asked, err, tt.want)
		}
	}
}

// A kernel without its module ends the start, with the reason.
func TestModuleThatDoesNotCome(t *testing.T) {
	err := loadModules(t.Context(), config.Default(), func(context.Context, ...modules.Part) error { return modules.ErrNotThere })
	if !errors.Is(err, modules.ErrNotThere) || !strings.HasPrefix(err.Error(), "start: ") {
		t.Error(err)
	}
}
