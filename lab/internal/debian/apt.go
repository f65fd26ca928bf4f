package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"verdictd/lab/internal/child"
)

// Mirror is where Debian's packages come from if nothing else is said: Debian's own network of mirrors.
const Mirror = "http://deb.debian.org/debian"

// keyrings are where Debian's keys are, on Debian and on others that have the package.
var keyrings = []string{"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-keyring.pgp"}

// An apt is apt with everything that it writes below one folder.
type apt struct{ dir string }

// private matches the settings of the machine that are not taken over: where apt keeps things, what it runs on the
// way, and the machine's architecture.
var private = regexp.MustCompile(`^(Dir::(State|Cache|Etc|Log)|APT::Architecture|APT::Update::|APT::Periodic|DPkg::|Acquire::IndexTargets|APT::Sandbox)`)

// newAPT prepares the folder for one suite.
func newAPT(ctx context.Context, dir, mirror, suite string) (*apt, error) {
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("kernels of Debian are fetched with %s, which is not installed; give --image FILE "+
				"and --modules DIR of a kernel that you have: %w", program, err)
		}
	}
	key := ""
	for _, k := range keyrings {
		if _, err := os.Stat(k); err == nil {
			key = k
		}
	}
	if key == "" {
		return nil, fmt.Errorf("there is no %s to check Debian's packages with: install debian-archive-keyring",
			keyrings[0])
	}
	for _, folder := range []string{"state/lists/partial", "cache/archives/partial", "download"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, err
		}
	}
	settings, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("read apt's settings: %w", err)
	}
	var conf strings.Builder
	for line := range strings.Lines(string(settings)) {
		if !private.MatchString(line) {
			conf.WriteString(line)
		}
	}
	fmt.Fprintf(&conf, `Dir::State "%[1]s/state";
Dir::Cache "%[1]s/cache";
Dir::State::status "%[1]s/status";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Log "%[1]s";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "5";
`, dir)
	for name, text := range map[string]string{"apt.conf": conf.String(), "sources.list": sources(mirror, suite, key),
		"status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return &apt{dir}, nil
}

// sources are the lines of sources.list for a suite and its security updates.
func sources(mirror, suite, key string) string {
	var lines strings.Builder
	entry := func(uri, suite string) {
		fmt.Fprintf(&lines, "deb [arch=amd64 signed-by=%s] %s %s main\n", key, uri, suite)
	}
	entry(mirror, suite)
	if !strings.Contains(suite, "-") && suite != "sid" && suite != "unstable" {
		entry(strings.TrimSuffix(mirror, "/")+"-security", suite+"-security")
	}
	return lines.String()
}

// run runs one of apt's programs and returns what it wrote to stdout.
func (a *apt) run(ctx context.Context, program string, args ...string) (string, error) {
	return run(ctx, filepath.Join(a.dir, "download"), []string{"APT_CONFIG=" + filepath.Join(a.dir, "apt.conf")},
		program, args...)
}

// run runs a program, which ends with the context, and so do the processes that it starts, such as apt's methods.
func run(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "LC_ALL=C.UTF-8")...)
	var stdout bytes.Buffer
	var stderr child.Tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	const grace, quoted = 5 * time.Second, 3
	err := child.Run(ctx, cmd, syscall.SIGTERM, grace)
	if cause := context.Cause(ctx); cause != nil {
		return "", fmt.Errorf("%s: %w", program, cause)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w%s", program, strings.Join(args, " "), err, stderr.Quote(quoted))
	}
	return stdout.String(), nil
}

// update reads what the suite has.
func (a *apt) update(ctx context.Context) error {
	// A suite without security updates of its own is no failure, one without packages is.
	_, err := a.run(ctx, "apt-get", "-q", "update")
	if err != nil {
		return fmt.Errorf("read the list of packages: %w", err)
	}
	return nil
}

// show is what a field of a package says, of the version that would be fetched.
func (a *apt) show(ctx context.Context, name, field string) (string, error) {
	text, err := a.run(ctx, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+": "); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", nil
}

// depends are the packages on which one depends whose names begin like that.
func (a *apt) depends(ctx context.Context, name, prefix string) ([]string, error) {
	text, err := a.show(ctx, name, "Depends")
	if err != nil {
		return nil, err
	}
	var names []string
	for part := range strings.SplitSeq(text, ",") {
		if fields := strings.Fields(part); len(fields) > 0 && strings.HasPrefix(fields[0], prefix) {
			names = append(names, fields[0])
		}
	}
	return names, nil
}

// newest is the package on which the suite's linux-image-cloud-amd64 depends.
func (a *apt) newest(ctx context.Context) (string, error) {
	names, err := a.depends(ctx, "linux-image-cloud-amd64", "linux-image-")
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		return "", fmt.Errorf("linux-image-cloud-amd64 depends on %d images instead of one", len(names))
	}
	return names[0], nil
}

// parts are the packages that a kernel is in: one, or since Linux 7 several on which that depends.
func (a *apt) parts(ctx context.Context, name string) ([]string, error) {
	parts := []string{name}
	for _, prefix := range []string{"linux-binary-", "linux-modules-", "linux-base-"} {
		more, err := a.depends(ctx, name, prefix)
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	return parts, nil
}

// download fetches packages and returns their files.
func (a *apt) download(ctx context.Context, names []string) ([]string, error) {
	if _, err := a.run(ctx, "apt-get", append([]string{"-q", "download"}, names...)...); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "download", "*.deb"))
	if err != nil || len(files) != len(names) {
		return nil, fmt.Errorf("apt-get left %d packages instead of %s", len(files), strings.Join(names, ", "))
	}
	return files, nil
}
