package audit

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/testkit"
)

// machineColumns are the facts that testdata/machines.txt has letters of, in their order.
var machineColumns = []string{
	kernelfacts.FactClashCrash, kernelfacts.FactConfirmedEarly, kernelfacts.FactVerdictUAF, "null-at-verdict", "reinjected-clash-crash",
	"socket-reference", "queue-destroyed", kernelfacts.FactNoResolution, "nat-clash-dropped", kernelfacts.FactDNATMisroute,
	kernelfacts.FactGRODropped, kernelfacts.FactMangle, "collector-bursts", "flush-of-all-queues", "icmp-clash-dropped",
}

// recordedMachine is one of them.
type recordedMachine struct {
	name, rpm, rules, verdict, facts string
	root                             fstest.MapFS
}

func recordedMachines(t *testing.T) (list []*recordedMachine) {
	t.Helper()
	text, err := os.ReadFile("testdata/machines.txt")
	if err != nil {
		t.Fatal(err)
	}
	var m *recordedMachine
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		value = strings.ReplaceAll(strings.TrimSpace(value), `\n`, "\n")
		if key == "machine" {
			m = &recordedMachine{name: value, root: fstest.MapFS{}}
			list = append(list, m)
			continue
		}
		if to := map[string]*string{"rpm": &m.rpm, "rules": &m.rules, "verdict": &m.verdict, "facts": &m.facts}[key]; to != nil {
			*to = value
			continue
		}
		m.root[key] = &fstest.MapFile{Data: []byte(value)}
	}
	return list
}

// run answers what programs would: rpm where the machine has one.
func (m *recordedMachine) run(_ context.Context, name string, _ ...string) ([]byte, error) {
	if name == "rpm" && m.rpm != "" {
		return []byte(m.rpm), nil
	}
	return nil, &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// recordedRules make each kind of rules, by iptables-nft, with iptables-restore's.
var recordedRules = map[string]string{
	"none": "*filter\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
	"out":  "*mangle\n-A OUTPUT -p udp -j NFQUEUE --queue-num 1\nCOMMIT\n*filter\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
	"raw":  "*raw\n-A OUTPUT -p udp -j NFQUEUE --queue-num 1\nCOMMIT\n*filter\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
	"tcp":  "*filter\n-A INPUT -p tcp -j NFQUEUE --queue-num 1\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
	"docker": "*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 198.51.100.0/24 ! -o docker0 -j MASQUERADE\n" +
		"-A DOCKER ! -i docker0 -p udp -m udp --dport 5300 -j DNAT --to-destination 198.51.100.2:53\nCOMMIT\n" +
		"*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -p udp -j NFQUEUE --queue-num 1\nCOMMIT\n",
}

// TestRecordedMachines: what the audit says of machines of all makers, by its own way
// from files and rules to the text.
func TestRecordedMachines(t *testing.T) {
	machines := recordedMachines(t)
	makers := map[string]bool{}
	for kind, rules := range recordedRules {
		t.Run(kind, func(t *testing.T) {
			testkit.Namespace(t)
			path, err := exec.LookPath("iptables-nft-restore")
			if err != nil {
				t.Skip("no iptables-nft-restore on this machine")
			}
			cmd := exec.Command(path)
			cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
			cmd.Stdin = strings.NewReader(rules)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, m := range machines {
				if m.rules == kind {
					makers[m.check(t)] = true // not in a subtest, whose thread would be in another namespace
				}
			}
		})
	}
	if !t.Failed() && (len(machines) < 60 || len(makers) < 8) {
		t.Errorf("%d machines of %d makers, want 60 and 8", len(machines), len(makers))
	}
}

// check compares the audit's answer with the one recorded, and returns who made the machine.
func (m *recordedMachine) check(t *testing.T) string {
	t.Helper()
	read := read(t.Context(), m.root, m.run)
	read.Architecture = "amd64"
	read.conclude()
	answer := Judge(read)
	if string(answer.Verdict) != m.verdict {
		t.Errorf("%s: %s: %s, want %s", m.name, answer.Verdict, answer.Sentence, m.verdict)
	}
	if got := lettersOf(read.Facts); got != m.facts {
		t.Errorf("%s:\ngot  %s\nwant %s of %v", m.name, got, m.facts, machineColumns)
	}
	var b bytes.Buffer
	if err := NewReport("1.2.3", read).WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > columns+1 && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("%s: %d columns: %s", m.name, len(line)-1, line)
		}
	}
	// What this machine's namespace cannot tell of another one is the listeners alone.
	for _, u := range read.Unread {
		if u.Part != "netlink sockets" && u.Part != "kernel package's changelog" && u.Part != "kmod" {
			t.Errorf("%s: unread: %+v", m.name, u)
		}
	}
	return read.Host.Distribution.Value.ID
}

// lettersOf are the facts' statuses, in lower case where the table is not certain.
func lettersOf(findings []kernelfacts.Finding) string {
	letters := map[kernelfacts.Status]string{kernelfacts.Affected: "A", kernelfacts.Fixed: "F", kernelfacts.NotAffected: "-", kernelfacts.Unknown: "?"}
	var b strings.Builder
	for _, id := range machineColumns {
		f := findings[slices.IndexFunc(findings, func(f kernelfacts.Finding) bool { return f.ID == id })]
		letter := letters[f.Status]
		if strings.HasPrefix(f.Reason, "probably: ") {
			letter = strings.ToLower(letter)
		}
		b.WriteString(letter)
	}
	return b.String()
}
