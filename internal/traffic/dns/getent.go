package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// disguise is what getent is to see in the place of the system's files.
type disguise struct {
	getent string
	dir    string
	cover  []cover
}

// cover is a file or directory of ours and what it hides.
type cover struct{ ours, system string }

// newDisguise writes the files. It fails where there is no getent, or nothing to cover.
func newDisguise(cfg *Config) (_ *disguise, err error) {
	d := &disguise{}
	if d.getent, err = exec.LookPath("getent"); err != nil {
		return nil, fmt.Errorf("find getent, by which getaddrinfo is called (Debian: libc-bin, Fedora: glibc-common, Alpine: musl-utils; client %s needs none): %w", Builtin, err)
	}
	if d.dir, err = os.MkdirTemp("", "stress-dns-"); err != nil {
		return nil, fmt.Errorf("make a directory for resolv.conf (set TMPDIR to where that is allowed): %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	options := fmt.Sprintf("timeout:%d attempts:%d", cfg.AttemptTimeout/time.Second, cfg.Attempts)
	if cfg.Queries != Parallel {
		options += " " + string(cfg.Queries)
	}
	if _, err := os.Stat("/etc/resolv.conf"); err != nil {
		return nil, fmt.Errorf("look at resolv.conf, over which one for the test is mounted where getent sees it (touch /etc/resolv.conf helps; client %s needs none): %w", Builtin, err)
	}
	err = d.hide("/etc/resolv.conf", fmt.Sprintf("nameserver %s\noptions %s\n", cfg.Target, options))
	if err != nil {
		return nil, err
	}
	// Without nsswitch.conf glibc asks the DNS in the end, and musl knows none.
	if _, err := os.Stat("/etc/nsswitch.conf"); err == nil {
		if err := d.hide("/etc/nsswitch.conf", "hosts: dns\n"); err != nil {
			return nil, err
		}
	}
	// glibc would ask nscd first, which runs elsewhere.
	if _, err := os.Stat("/run/nscd"); err == nil {
		empty := filepath.Join(d.dir, "nscd")
		if err := os.Mkdir(empty, 0o700); err != nil {
			return nil, err
		}
		d.cover = append(d.cover, cover{empty, "/run/nscd"})
	}
	return d, nil
}

func (d *disguise) hide(system, text string) error {
	ours := filepath.Join(d.dir, filepath.Base(system))
	if err := os.WriteFile(ours, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s for getent: %w", filepath.Base(system), err)
	}
	d.cover = append(d.cover, cover{ours, system})
	return nil
}

func (d *disguise) close() error {
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove the files for getent: %w", err)
	}
	return nil
}

// putOn gives the calling thread a mount namespace with the covers in their places. The thread is to be locked, and
// must not be given back.
func (d *disguise) putOn() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace for getent (needs CAP_SYS_ADMIN: run as root, or name no namespaces and have them made; client %s needs none): %w", Builtin, err)
	}
	// What is mounted here is not to be seen elsewhere.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	for _, c := range d.cover {
		if err := unix.Mount(c.ours, c.system, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount over %s, for getent alone: %w", c.system, err)
		}
	}
	return nil
}

// getaddrinfo is the client that runs getent. Its thread wears the disguise, and getent inherits it.
type getaddrinfo struct {
	cfg *Config
	*disguise
	naming
	server *server
}

func (g *getaddrinfo) resolve(ctx context.Context, i int) (outcome, error) {
	// glibc asks once more for each of its fall-backs, so it takes a multiple of what its options say.
	bound, cancel := context.WithTimeout(ctx, 4*time.Duration(g.cfg.Attempts)*g.cfg.AttemptTimeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(bound, g.getent, "ahosts", g.name(i))
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")} // RES_OPTIONS and LOCALDOMAIN would change what it does
	// A process group of its own: Ctrl-C on the terminal is for this process, which then ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begun := time.Now()
	err := cmd.Run()
	o := outcome{took: time.Since(begun)}
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	const notFound = 2
	var exit *exec.ExitError
	switch {
	case err == nil:
		o.ok, o.wrong = verify(stdout.String(), i)
	case errors.As(err, &exit) && exit.ExitCode() == notFound, bound.Err() != nil:
	default:
		return o, fmt.Errorf("run getent: %w%s", err, quote(stderr.String()))
	}
	o.retried = g.retried(i, begun)
	return o, nil
}

// retried judges by what reached the server: a question twice, or one that came when the first attempt must have been
// over. The latter is where nothing of the first attempt got there, or where the C library repeats only what was lost.
func (g *getaddrinfo) retried(i int, begun time.Time) bool {
	asked := g.server.of(i)
	// musl's interval is the shortest. Its clock has started after ours; timers are precise to more than this.
	interval := g.cfg.AttemptTimeout / time.Duration(g.cfg.Attempts)
	return asked.a > 1 || asked.aaaa > 1 || asked.last.Sub(begun) >= interval*9/10
}

// verify reads the addresses that getent printed, each at the beginning of a line.
func verify(output string, i int) (ok, wrong bool) {
	a, aaaa := addresses(i)
	var gotA, gotAAAA bool
	for line := range strings.Lines(output) {
		field, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		address, err := netip.ParseAddr(field)
		switch {
		case err != nil:
			wrong = true
		case address == a:
			gotA = true
		case address == aaaa:
			gotAAAA = true
		default:
			wrong = true
		}
	}
	return gotA && gotAAAA && !wrong, wrong
}

func quote(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return ": " + text
}
