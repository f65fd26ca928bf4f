package main

import (
	"context"
	"os"

	"github.com/alecthomas/kong"

	"verdictd/daemon/internal/service"
	"verdictd/internal/cli"
	"verdictd/internal/netlab"
)

// version is set by the linker.
var version = "devel"

// commands have a Run method each.
type commands struct {
	Run       runCommand       `cmd:"" kin:"start,serve,daemon" help:"Give verdicts until told to stop (SIGTERM or SIGINT)."`
	Guard     guardCommand     `cmd:"" help:"Guard the queues of other programs, which stay as they are."`
	Supervise superviseCommand `cmd:"" help:"Run a command of this program, hold its queues while it is restarted, and start it once more when it fails."`
	Release   releaseCommand   `cmd:"" help:"Do as on_failure says for packets that no daemon judges any more."`
	Check     checkCommand     `cmd:"" kin:"validate,lint,verify" help:"Check a configuration and list every problem."`
	Test      testCommand      `cmd:"" kin:"replay,pcap" help:"Hold the policy against the packets of a capture."`
	Explain   explainCommand   `cmd:"" kin:"why,trace" help:"Say which rule decides on a packet, and why the others do not."`
	Import    importCommand    `cmd:"" kin:"convert,migrate" help:"Make a policy of the rules of another program."`
	Status    statusCommand    `cmd:"" help:"Say what the running daemon does: configuration, queues, guard, rules, loss, reloads."`
	Top       topCommand       `cmd:"" help:"Show the running daemon at work: rates of each queue and rule, backlog, loss, guard."`
	Config    configCommand    `cmd:"" help:"Print the configuration of the running daemon, with all defaults, as a file that check accepts."`
	Reload    reloadCommand    `cmd:"" help:"Have the running daemon read its configuration again: all of it is applied, or nothing."`
	Rules     rulesCommand     `cmd:"" help:"Install, remove or show the rules that feed the queues."`
	Audit     auditCommand     `cmd:"" kin:"doctor,diagnose" help:"Say whether packets can clash on this machine, what its kernel does then, and what to do about it."`
	Version   kong.VersionFlag `help:"Print the version."`
	NetNS     string           `name:"netns" help:"Network namespace to work in, by its name (ip netns) or path." placeholder:"NAME|PATH"`
}

// AfterApply is called by kong before a command's Run.
func (c *commands) AfterApply() error {
	if c.NetNS == "" {
		return nil
	}
	return netlab.Move(c.NetNS)
}

func main() {
	os.Exit(execute(service.Listen(os.Stderr), os.Args[1:]))
}

func execute(signals *service.Signals, args []string) (status int) {
	return cli.Program{
		Name:        "verdictd",
		Description: "NFQUEUE verdicts without conntrack clashes.",
		Version:     version,
		Commands:    &commands{},
	}.Run(args, os.Stdout, os.Stderr, kong.BindTo(signals.End(), (*context.Context)(nil)), kong.Bind(signals))
}
