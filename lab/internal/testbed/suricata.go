package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
)

// FindSuricata looks for Suricata, which is not the project's.
func FindSuricata() (string, error) {
	path, err := exec.LookPath("suricata")
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath("/usr/bin/suricata") // where a user's PATH lacks it
	}
	if err != nil {
		return "", fmt.Errorf("no suricata on this machine: %w (Debian 13 has it: apt-get install suricata)", err)
	}
	return path, nil
}

// suricataConfig is what Suricata has to be told: a rule that matches everything, so that it looks at each packet, and
// no output but its own words.
const suricataConfig = `%%YAML 1.1
---
vars:
  address-groups: {HOME_NET: any, EXTERNAL_NET: any}
default-log-dir: %[1]s
default-rule-path: %[1]s
rule-files: [lab.rules]
stats: {enabled: no}
outputs: []
logging:
  default-log-level: error
  outputs:
    - console: {enabled: yes}
nfq: {mode: accept}
unix-command: {enabled: no}
`

const suricataRules = "pass ip any any -> any any (sid:1;)\n"

// startSuricata starts it with a thread for each queue, and waits until they are bound, which it tells nobody.
func (f *Foreign) startSuricata(g *Group, ns *netlab.NetNS) (*Process, error) {
	program, err := FindSuricata()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(g.Dir, "suricata.yaml")
	err = errors.Join(
		os.WriteFile(file, fmt.Appendf(nil, suricataConfig, g.Dir), 0o600),
		os.WriteFile(filepath.Join(g.Dir, "lab.rules"), []byte(suricataRules), 0o600),
	)
	if err != nil {
		return nil, fmt.Errorf("write Suricata's configuration: %w", err)
	}
	p, err := g.Start(ns, false, nil, program, "-c", file, "-l", g.Dir, "--runmode", "workers",
		"-q", fmt.Sprintf("0:%d", f.Queues-1))
	if err != nil {
		return nil, err
	}
	return p, p.bound(ns, f.Queues)
}

// bound waits until a program has bound queues 0 and on.
func (p *Process) bound(ns *netlab.NetNS, queues int) error {
	for until := time.Now().Add(ReadyWithin); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		var list []nfq.KernelQueue
		err := ns.Do(func() (err error) {
			list, err = nfq.ReadKernelQueues()
			return err
		})
		switch {
		case err != nil:
			return err
		case p.Group.Ctx.Err() != nil:
			return context.Cause(p.Group.Ctx)
		case len(list) >= queues:
			return nil
		}
	}
	return fmt.Errorf("%s has not bound %d queues within %v%s", p.name, queues, ReadyWithin, p.Stderr.Quote(Quoted))
}
