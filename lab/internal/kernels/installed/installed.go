package installed

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"verdictd/internal/cli"
	"verdictd/lab/internal/debian"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/vm"
)

// Config says what is installed, and how hard it has it.
type Config struct {
	kernels.Machine
	Suite   string // of Debian's userland
	Package string // .deb of verdictd
	Before  string // .deb of the version that it is upgraded from
	// Reference is the C program on libnetfilter_queue that has the same faults; empty: it
	// is left out. Its libraries replace those of the guest.
	Reference string
	Load
	Timeout time.Duration
	Console bool // show the machine's console among the remarks
}

// Load is what goes on between start and stop.
type Load struct {
	Rate     int           // packets a second of each of the two streams; 0: as the machine manages
	Gap      time.Duration // in which the queues have to take all packets; 0: as the machine has it
	Reloads  int
	Restarts int
	Kills    int
	Upgrades int
}

// Validate says what is wrong.
func (l *Load) Validate() error {
	if l.Gap < 0 || l.Rate < 0 || l.Reloads < 0 || l.Restarts < 0 || l.Kills < 0 || l.Upgrades < 0 {
		return fmt.Errorf("--rate %d, --gap %v, --reloads %d, --restarts %d, --kills %d, --upgrades %d: none of them may be negative",
			l.Rate, l.Gap, l.Reloads, l.Restarts, l.Kills, l.Upgrades)
	}
	return nil
}

// Where the guest has the packages, and the program that it is compared with.
const (
	packagePath   = "/root/verdictd.deb"
	beforePath    = "/root/verdictd-before.deb"
	referencePath = "/root/nfq_reference"
)

// Run boots the machine. The steps are printed on w as they are made.
func Run(ctx context.Context, c *Config, w, remarks io.Writer) (*vm.Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	_, config, err := c.Prepare(ctx, remarks)
	if err != nil {
		return nil, err
	}
	shown := cli.NewProgress(remarks)
	defer shown.End()
	config.Root, err = debian.Userland(ctx, debian.Config{
		Wanted:   c.Suite,
		Progress: func(s string) { shown.Say("%s", s) },
	})
	if err != nil {
		return nil, err
	}
	// systemd becomes the first process. Modules are its and the kernel's to load, and the programs the package's to
	// bring, but for the load.
	config.System = "/lib/systemd/systemd"
	config.LoadableNames, config.ModuleNames = config.ModuleNames, nil
	files := []vm.File{{Host: c.Package, Guest: packagePath}, {Host: c.Before, Guest: beforePath}}
	if c.Reference != "" {
		files = append(files, vm.File{Host: c.Reference, Guest: referencePath})
	}
	for _, f := range config.Files {
		if filepath.Base(f.Host) == "stress" {
			files = append(files, f)
		}
	}
	config.Files = files
	config.Append = append(config.Append, "systemd.show_status=0", "systemd.mask=serial-getty@ttyS0.service",
		"systemd.mask=systemd-networkd-wait-online.service", "loglevel=4")
	if config.Memory == 0 {
		config.Memory = 2048
	}
	config.Command = []string{kernels.LabPath, "kernel", "package-guest", "--rate", strconv.Itoa(c.Rate),
		"--gap", c.Gap.String(), "--reloads", strconv.Itoa(c.Reloads), "--restarts", strconv.Itoa(c.Restarts), "--kills", strconv.Itoa(c.Kills),
		"--upgrades", strconv.Itoa(c.Upgrades)}
	config.Timeout, config.Stdout, config.Stderr = c.Timeout, c.follow(shown, w), shown.Lines(remarks)
	if c.Console {
		config.Console = shown.Lines(remarks)
	}
	return vm.Run(ctx, config)
}
