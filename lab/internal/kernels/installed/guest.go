package installed

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/config"
	"verdictd/internal/results"
	"verdictd/lab/internal/testbed"
)

// A guest makes the steps, in the machine.
type guest struct {
	Load
	w      io.Writer
	failed int
	began  time.Time
	watch  *watch
}

// Guest makes all steps. It goes on after one that failed where the next can be made.
func Guest(ctx context.Context, l Load, w io.Writer) error {
	g := &guest{Load: l, w: w, began: time.Now(), watch: startWatch(ctx)}
	defer g.watch.end()
	for _, step := range g.steps() {
		text, err := step.make(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			fmt.Fprintf(w, "%6.1f s  ok    %s: %s\n", time.Since(g.began).Seconds(), step.promise, text)
			continue
		}
		g.failed++
		fmt.Fprintf(w, "%6.1f s  FAIL  %s: %v\n", time.Since(g.began).Seconds(), step.promise, err)
		if step.needed {
			g.journal(ctx)
			return cli.ErrReported
		}
	}
	if g.failed > 0 {
		g.journal(ctx)
		return cli.ErrReported
	}
	return nil
}

// run runs a program and returns what it wrote.
func run(ctx context.Context, name string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	text := strings.TrimSpace(out.String())
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// all runs programs one after the other.
func all(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if _, err := run(ctx, words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// journal shows what the service said, for whoever looks for the fault.
func (g *guest) journal(ctx context.Context) {
	text, err := run(ctx, "journalctl", "--no-pager", "-n", "60", "-o", "short-monotonic", "-u", "verdictd*")
	fmt.Fprintf(g.w, "the journal's end (%v):\n%s\n", err, text)
	// A system call that a filter forbids, or a file, is in the kernel's log alone.
	text, err = run(ctx, "dmesg")
	for line := range strings.Lines(text) {
		if strings.Contains(line, "audit:") && !strings.Contains(line, "type=1334") {
			fmt.Fprint(g.w, line)
		}
	}
	if err != nil {
		fmt.Fprintln(g.w, err)
	}
}

func (g *guest) boot(ctx context.Context) (string, error) {
	// A system that is not here yet has no socket to ask at.
	for deadline := time.Now().Add(withinSlow); ; time.Sleep(200 * time.Millisecond) {
		state, _ := run(ctx, "systemctl", "is-system-running", "--wait")
		if state == "running" || state == "degraded" {
			version, err := run(ctx, "systemctl", "--version")
			first, _, _ := strings.Cut(version, "\n")
			failed, _ := run(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
			if failed != "" {
				first += ", without " + strings.Join(strings.Fields(failed)[:1], " ")
			}
			return first, err
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("it is %q", state)
		}
	}
}

func (g *guest) install(ctx context.Context) (string, error) {
	if _, err := run(ctx, "dpkg", "-i", beforePath); err != nil {
		return "", err
	}
	for _, question := range []string{"is-active", "is-enabled"} {
		if answer, err := run(ctx, "systemctl", question, unit); err == nil {
			return "", fmt.Errorf("%s is %s", unit, answer)
		}
	}
	text, err := run(ctx, "dpkg-query", "-W", "-f", "${Version}, ${db:Status-Status}", "verdictd")
	if err != nil {
		return "", err
	}
	modules, err := os.ReadFile("/proc/modules")
	if err != nil {
		return "", err
	}
	if !bytes.Contains(modules, []byte("nfnetlink_queue ")) {
		return "", errors.New("modules-load.d did not load nfnetlink_queue")
	}
	return text, nil
}

// exposure is what systemd thinks of the units, from 0 to 10.
func (g *guest) exposure(ctx context.Context) (string, error) {
	const most = 1.5
	files, err := filepath.Glob("/usr/lib/systemd/system/verdictd*.service")
	if err != nil {
		return "", err
	}
	files = append(files, "/usr/lib/systemd/system/conntrackwatch.service")
	var said []string
	for _, file := range files {
		name := strings.Replace(filepath.Base(file), "@.", "@x.", 1)
		text, err := run(ctx, "systemd-analyze", "security", "--no-pager", name)
		if err != nil {
			return "", err
		}
		_, last, found := strings.Cut(text, "Overall exposure level for "+name+": ")
		if !found {
			return "", fmt.Errorf("no exposure in %q", text)
		}
		level, err := strconv.ParseFloat(strings.Fields(last)[0], 64)
		if err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s %.1f", name, level))
		if level > most {
			return "", fmt.Errorf("%s, more than %.1f", strings.Join(said, ", "), most)
		}
	}
	return strings.Join(said, ", "), nil
}

// configuration queues what this host sends to two ports, and drops the one. An emulated
// machine takes long to start a process. Flows are not listed as settled: on a busy machine that may cost their order
// (docs/limits.md), which counts here.
const configuration = `guard: {settled: false}
rules: {placement: output, protocols: [udp], destination_ports: [9997, 9998, 9999], source_ports: [9997]}
queues: {count: 2, max_length: %d, receive_buffer: %d}
failure: {longest_wait: %v}
policy:
  rules:
    - {name: unjudged, action: drop, destination_ports: ["9998"]}
`

// configurationPath is where the package has it.
const configurationPath = "/etc/verdictd/verdictd.yaml"

// packetSize is more than each packet of the load has, in bytes.
const packetSize = 256

// room is what a queue needs where all packets of the gap come to it.
func (l *Load) room() (length, buffer int64) {
	rate := 2*l.Rate + 2*l.mixed() // what comes back is queued as well
	return config.Default().Queues.Room(config.Gap{Rate: rate, Length: l.Gap, Bytes: packetSize})
}

func (g *guest) start(ctx context.Context) (string, error) {
	first := Load{Rate: cmp.Or(g.Rate, firstRate), Gap: cmp.Or(g.Gap, leastGap)}
	if err := first.write(); err != nil {
		return "", err
	}
	if err := errors.Join(patient(), network(ctx)); err != nil {
		return "", err
	}
	if _, err := run(ctx, "systemctl", "enable", "--now", unit); err != nil {
		return "", err
	}
	rules, err := run(ctx, "nft", "list", "tables")
	if err != nil {
		return "", err
	}
	if !strings.Contains(rules, "verdictd") {
		return "", fmt.Errorf("no table of it among %q", rules)
	}
	queues, err := queues()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; %d queues bound", strings.ReplaceAll(rules, "\n", ", "), queues), nil
}

// patient makes systemd wait: the unit's own times are for machines that are not emulated.
func patient() error {
	const dir = "/etc/systemd/system/" + unit + ".d"
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(dir+"/slow.conf", fmt.Appendf(nil, "[Service]\nTimeoutStartSec=%[1]v\nTimeoutStopSec=%[1]v\nWatchdogSec=%[1]v\n",
		withinSlow.Seconds()), 0o600)
}

// unit is the service that is tried.
const unit = "verdictd.service"

// queues counts those that somebody has bound.
func queues() (int, error) {
	text, err := os.ReadFile("/proc/net/netfilter/nfnetlink_queue")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return bytes.Count(text, []byte("\n")), err
}

// nothing says what is left of the service.
func (g *guest) nothing(ctx context.Context, name string) error {
	rules, err := run(ctx, "nft", "list", "tables")
	if err != nil {
		return err
	}
	bound, err := queues()
	if err != nil {
		return err
	}
	stored, err := run(ctx, "systemctl", "show", "--value", "-p", "NFileDescriptorStore", name)
	if err != nil {
		return err
	}
	processes, _ := run(ctx, "pgrep", "-a", "verdictd")
	if strings.Contains(rules, "verdictd") || bound > 0 || stored != "0" || processes != "" {
		return fmt.Errorf("left are: tables %q, %d queues, %s stored descriptors, processes %q", rules, bound, stored, processes)
	}
	return nil
}

// giveUp has the service find a wrong configuration when it begins again, over which systemd begins no other. What the
// daemon before has noted for that is carried out by a command that the unit's sandbox does not hold.
func (g *guest) giveUp(ctx context.Context) (_ string, err error) {
	defer func() {
		err = errors.Join(err, g.write())
		_, started := run(ctx, "systemctl", "start", unit)
		err = errors.Join(err, started)
	}()
	if err := os.WriteFile(configurationPath, []byte("wrong: true\n"), 0o640); err != nil {
		return "", err
	}
	if _, err := run(ctx, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", unit); err != nil {
		return "", err
	}
	// Between two daemons it has failed for a moment, too, by the signal.
	const want = "failed by exit-code"
	var state string
	for deadline := time.Now().Add(withinSlow); state != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return "", fmt.Errorf("%s is %s over a wrong configuration", unit, state)
		}
		state, _ = run(ctx, "systemctl", "is-active", unit)
		result, err := run(ctx, "systemctl", "show", "--value", "-p", "Result", unit)
		if err != nil {
			return "", err
		}
		state += " by " + result
	}
	// The policy drops what is judged. Chains without rules may stay, as what waits would go with them.
	s, err := startStream(ctx, "given-up", "flood", "--target", peerAddress, "--port", droppedPort, "--flows", "4", "--pace", "rate:20",
		"--duration", "2s", "--linger", "2s")
	if err != nil {
		return "", err
	}
	var r results.Flood
	if err := s.wait(&r); err != nil {
		return "", err
	}
	bound, err := queues()
	switch {
	case err != nil:
		return "", err
	case r.FloodArrivals == nil || r.Delivered == 0:
		return "", fmt.Errorf("of %d packets none arrived%s", r.Sent, s.stderr.Quote(testbed.Quoted))
	case bound > 0:
		return "", fmt.Errorf("%d queues are left", bound)
	}
	return fmt.Sprintf("%s; of %d packets that the policy drops %d arrived", state, r.Sent, r.Delivered), nil
}

func (g *guest) stop(ctx context.Context) (string, error) {
	if _, err := run(ctx, "systemctl", "stop", unit); err != nil {
		return "", err
	}
	return "none", g.nothing(ctx, unit)
}

func (g *guest) guardUnit(ctx context.Context) (string, error) {
	const guard = "verdictd-guard.service"
	if _, err := run(ctx, "systemctl", "start", guard); err != nil {
		return "", err
	}
	state, err := run(ctx, "systemctl", "is-active", guard)
	if err != nil {
		return "", err
	}
	if _, err := run(ctx, "systemctl", "stop", guard); err != nil {
		return "", err
	}
	return state, g.nothing(ctx, guard)
}

func (g *guest) remove(ctx context.Context) (string, error) {
	if _, err := run(ctx, "systemctl", "start", unit); err != nil {
		return "", err
	}
	if _, err := run(ctx, "dpkg", "-r", "verdictd"); err != nil {
		return "", err
	}
	if _, err := os.Stat(configurationPath); err != nil {
		return "", fmt.Errorf("the configuration: %w", err)
	}
	if links, err := filepath.Glob("/etc/systemd/system/*/verdictd*"); err != nil || len(links) > 0 {
		return "", fmt.Errorf("it is still enabled: %q (%w)", links, err)
	}
	return "nothing runs, nothing is enabled", g.nothing(ctx, unit)
}

func (g *guest) purge(ctx context.Context) (string, error) {
	if _, err := run(ctx, "dpkg", "-P", "verdictd"); err != nil {
		return "", err
	}
	for _, name := range []string{"/etc/verdictd", "/var/lib/verdictd", "/var/lib/private/verdictd", "/run/verdictd",
		"/usr/share/doc/verdictd", "/usr/lib/systemd/system/" + unit} {
		if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			return "", errors.Join(fmt.Errorf("%s is still there", name), err)
		}
	}
	return "no file is left", nil
}
