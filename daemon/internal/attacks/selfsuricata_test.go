package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
)

// suricataConfig has no rules but the test's, and no output but Suricata's own words.
const suricataConfig = `%%YAML 1.1
---
vars: {address-groups: {HOME_NET: any, EXTERNAL_NET: any}}
default-log-dir: %[1]s
default-rule-path: %[1]s
rule-files: [test.rules]
stats: {enabled: no}
outputs: []
logging:
  default-log-level: error
  outputs:
    - console: {enabled: yes}
nfq: {%[2]s}
max-pending-packets: 4096
unix-command: {enabled: no}
`

// startSuricata starts Suricata with a section nfq, on queues such as "0" or "0:3", and returns when these are bound.
func startSuricata(t testing.TB, ns *netlab.NetNS, runmode, section, queues, rules string) *childtest.Child {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"suricata.yaml": fmt.Sprintf(suricataConfig, dir, section), "test.rules": rules,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := childtest.Start(t, ns, exec.Command("suricata", "-c", filepath.Join(dir, "suricata.yaml"), "-l", dir,
		"--runmode", runmode, "-q", queues))
	var first, last uint16
	if _, err := fmt.Sscanf(queues, "%d:%d", &first, &last); err != nil {
		last = first
	}
	bound := func() (n int) {
		if err := ns.Do(func() error {
			list, err := nfq.ReadKernelQueues()
			for _, q := range list {
				if first <= q.Queue && q.Queue <= last {
					n++
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for until := time.Now().Add(childtest.ReadyWithin); bound() <= int(last-first); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("Suricata has not bound %s: %s", queues, c.Log())
		}
	}
	return c
}

// suricatas are ways to set Suricata up.
var suricatas = []struct {
	name, hook       string
	rules            string // of iptables, the queue rule without what is common to all
	runmode, section string
	queues           string
	next             string // queue of a second Suricata
	signatures       string
	arrive           int // of 4 packets of each flow
}{
	{name: "accept", rules: "--queue-num 77"},
	{name: "threads share a queue", rules: "--queue-num 77", runmode: "autofp"},
	{name: "queues", rules: "--queue-balance 77:78", queues: "77:78"},
	{name: "queues by CPU", rules: "--queue-balance 77:78 --queue-cpu-fanout", queues: "77:78"},
	{name: "forward", rules: "--queue-num 77", hook: "FORWARD"},
	{name: "repeat", rules: "-m mark ! --mark 1/1 --queue-num 77", section: "mode: repeat, repeat-mark: 1, repeat-mask: 1"},
	{name: "repeat to the same rule", rules: "--queue-num 77", section: "mode: repeat, repeat-mark: 1, repeat-mask: 1"},
	{name: "route", rules: "--queue-num 77", section: "mode: route, route-queue: 79", next: "79"},
	{name: "batches", rules: "--queue-num 77", section: "mode: accept, batchcount: 20"},
	{name: "fail-open", rules: "--queue-num 77", section: "mode: accept, fail-open: yes"},
	{name: "first packets are dropped", rules: "--queue-num 77", arrive: 3,
		signatures: `drop udp any any -> any 5300 (msg:"first"; content:"|00 00 00 00|"; offset:8; depth:4; sid:2;)` + "\n"},
	{name: "packets are replaced", rules: "--queue-num 77",
		signatures: `alert udp any any -> any 5300 (msg:"replaced"; content:"atck"; content:"|00 00 00 00|"; offset:12; depth:4; replace:"abcd"; sid:3;)` + "\n"},
}

// TestSelfSuricata: Suricata in each of its modes, without a guard and with one.
func TestSelfSuricata(t *testing.T) {
	selfTest(t, "suricata", "iptables")
	for _, s := range suricatas {
		t.Run(s.name, func(t *testing.T) {
			const flows = 500
			arrive := flows * 4
			if s.arrive > 0 {
				arrive = flows * s.arrive
			}
			off, hold, both := bothModes(t, patient, func(r *run) outcome {
				h, hook := oneHost, "OUTPUT"
				if s.hook != "" {
					h, hook = routed, s.hook
				}
				n := h(r, "ipv4")
				r.suricata(n.Queue, s.runmode, s.section, s.queues, s.next, s.signatures)
				match, target, _ := strings.Cut(s.rules, "--queue-")
				iptables(r, n.Queue, fmt.Sprintf("-t mangle -A %s -p udp --dport %d %s -j NFQUEUE --queue-%s", hook, port, match, target))
				r.before(n.Queue, "77-79")
				in := listenLarge(r, n.Receiver, n.target(port))
				burst{to: n.target(port), flows: flows, packets: 4}.send(r, n.Sender)
				o := r.endBefore(in, arrive)
				o.longest()
				return o
			})
			t.Logf("clashes %d without the guard, %d with it; gone %d of %d held, longest %v ms", off.clashes, hold.clashes,
				hold.statistics.Gate.Total.Gone, hold.statistics.Gate.Total.Held, hold.figures["longest_ms"])
			if g := hold.statistics.Gate.Total; both && (hold.arrived != arrive || hold.duplicated != 0 || hold.reordered > off.reordered ||
				hold.clashes != 0 || g.Expired+g.Unguarded != 0 || s.arrive == 0 && g.Gone != 0) {
				t.Errorf("without the guard %v\nwith it %v", off, hold)
			}
		})
	}
}

// suricata starts one, and a second one behind it, which packets are handed on to.
func (r *run) suricata(ns *netlab.NetNS, runmode, section, queues, next, signatures string) *childtest.Child {
	if runmode == "" {
		runmode = "workers"
	}
	if queues == "" {
		queues = "77"
	}
	if next != "" {
		startSuricata(r, ns, "workers", "", next, "pass ip any any -> any any (sid:1;)\n")
	}
	return startSuricata(r, ns, runmode, section, queues, signatures+"alert ip any any -> any any (noalert; sid:1;)\n")
}

// TestSelfSuricataReloads: Suricata reads its rules again, is killed, and begins again, while flows come.
func TestSelfSuricataReloads(t *testing.T) {
	selfTest(t, "suricata", "iptables")
	for name, happens := range map[string]func(r *run, ns *netlab.NetNS, s *childtest.Child){
		"reload": func(_ *run, _ *netlab.NetNS, s *childtest.Child) { s.Signal(syscall.SIGUSR2) },
		"restart": func(r *run, ns *netlab.NetNS, s *childtest.Child) {
			s.Signal(syscall.SIGTERM)
			<-s.Done
			r.suricata(ns, "", "", "", "", "")
		},
		"kill": func(r *run, ns *netlab.NetNS, s *childtest.Child) {
			s.Kill()
			r.suricata(ns, "", "", "", "", "")
		},
		"stop": func(_ *run, _ *netlab.NetNS, s *childtest.Child) {
			s.Signal(syscall.SIGSTOP)
			time.Sleep(1500 * time.Millisecond)
			s.Signal(syscall.SIGCONT)
		},
	} {
		t.Run(name, func(t *testing.T) {
			off, hold, both := bothModes(t, "", func(r *run) outcome {
				h := oneHost(r, "ipv4")
				s := r.suricata(h.Queue, "", "", "", "", "")
				iptables(r, h.Queue, fmt.Sprintf("-t mangle -A OUTPUT -p udp --dport %d -j NFQUEUE --queue-num 77 --queue-bypass", port))
				r.before(h.Queue, "77")
				in, l := listenLarge(r, h.Receiver, h.target(port)), startLoad(r, h.Sender, h.target(port))
				time.Sleep(100 * time.Millisecond)
				happens(r, h.Queue, s)
				time.Sleep(500 * time.Millisecond)
				sent := l.stop()
				o := r.endBefore(in, sent)
				o.figures["lost"] = float64(sent - o.arrived)
				o.longest()
				return o
			})
			t.Logf("%d clashes without the guard, %d with it; %v packets lost, and %v", off.clashes, hold.clashes, off.figures["lost"], hold.figures["lost"])
			lossy := name == "kill" || name == "restart"
			if both && (hold.clashes != 0 || hold.duplicated+hold.reordered != 0 || hold.figures["lost"] > 0 && !lossy) {
				t.Errorf("%v; want no clashes, and nothing lost or out of order", hold)
			}
		})
	}
}
