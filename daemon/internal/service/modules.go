package service

import (
	"context"
	"fmt"

	"verdictd/internal/config"
	"verdictd/internal/modules"
)

// loadModules has the kernel load what the daemon's sockets need, one module after the other, before any other socket
// is opened: at boot several programs ask for the same modules at once, and some of them are then told that the
// kernel has none such ([modules.Load] has the sources). nf_conntrack_netlink is not among them. The guard asks for
// it where it is going to look flows up, as with that module conntrack begins to collect events, which a clash needs
// to do harm.
func loadModules(ctx context.Context, cfg *config.Config, load func(context.Context, ...modules.Part) error) error {
	parts := []modules.Part{modules.PartQueue}
	if cfg.Rules.Install {
		parts = append(parts, modules.PartTables)
	}
	if err := load(ctx, parts...); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}
