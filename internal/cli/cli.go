package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// Exit statuses. The last two are those of sysexits.h: 2 is what a Go program ends
// with that crashed.
const (
	Done          = 0
	Failed        = 1  // the run failed, was cut short, or found what it looks for
	Usage         = 64 // wrong usage
	Configuration = 78 // wrong configuration
)

// Errors that a command's Run wraps to choose how it ends.
var (
	// ErrUsage marks what the caller can mend on the command line: status Usage.
	ErrUsage = errors.New("wrong usage")
	// ErrListed marks an error that is a list of places and problems, such as a
	// configuration's: it is printed as it is, status Configuration.
	ErrListed = errors.New("listed")
	// ErrReported marks a failure that the report has told already: nothing is
	// printed, status Failed.
	ErrReported = errors.New("the report says what failed")
)

// ExitStatus is an error with which a command ends as one did that it ran: with
// that status, and nothing printed, as that one has said what there was to say.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Program is a command.
type Program struct {
	Name, Description, Version string
	// Commands is kong's: a pointer to a struct of commands that have Run.
	Commands any
}

// Run parses the arguments, runs the command that they name and returns the exit
// status. options are kong's, such as what Run methods take.
func (p Program) Run(args []string, stdout, stderr io.Writer, options ...kong.Option) (status int) {
	err := p.run(args, stdout, stderr, options)
	ran, passed := errors.AsType[ExitStatus](err)
	switch {
	case err == nil:
		return Done
	case passed:
		return int(ran)
	case errors.Is(err, ErrReported):
		return Failed
	case errors.Is(err, ErrListed):
		fmt.Fprintln(stderr, err)
		return Configuration
	}
	fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
	if errors.Is(err, ErrUsage) {
		return Usage
	}
	return Failed
}

func (p Program) run(args []string, stdout, stderr io.Writer, options []kong.Option) error {
	exited := false
	parser, err := kong.New(p.Commands, append(append(options, values...),
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Vars{"version": p.Name + " " + p.Version},
		kong.Writers(stdout, stderr),
		kong.Embed(&describe{}),
		kong.Exit(func(int) { exited = true }), // after --help and --version
	)...)
	if err != nil {
		return fmt.Errorf("command line definition: %w", err)
	}
	complete(parser.Model.Node)
	command, err := parser.Parse(args)
	if err == nil && !exited {
		err = checkTogether(command)
	}
	switch wrong, parsed := errors.AsType[*kong.ParseError](err); {
	case exited, errors.Is(err, errParsed):
		return nil
	case parsed:
		where, better := explain(err, wrong.Context)
		return fmt.Errorf("%w: %w; see %s --help", ErrUsage, better, where)
	case err != nil:
		return fmt.Errorf("%w: %w; see %s --help", ErrUsage, err, p.Name)
	}
	return command.Run()
}
