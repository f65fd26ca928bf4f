package config

import (
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"verdictd/internal/vocabulary"
)

// prefixes are entries of a list of addresses.
func prefixes(texts ...string) (list []Prefix) {
	for _, text := range texts {
		list = append(list, Prefix{Prefix: netip.MustParsePrefix(text)})
	}
	return list
}

var (
	comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	comparePairs    = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

const shipped = "../../configs/verdictd.yaml"

func TestShippedFileIsTheDefault(t *testing.T) {
	c, err := Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), c, comparePrefixes); diff != "" {
		t.Errorf("%s differs from the default (-default +file):\n%s", shipped, diff)
	}
	written, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range regexp.MustCompile(`(?m)^ *\w+:`).FindAllString(string(written), -1) {
		if !regexp.MustCompile(`(?m)^` + key).Match(text) {
			t.Errorf("%s does not mention %q", shipped, key)
		}
	}
}

// TestShippedExample parses the rules that are commented out.
func TestShippedExample(t *testing.T) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(text), "  #\n  # rules:\n")
	if !found {
		t.Fatalf("%s has no example", shipped)
	}
	example, _, _ = strings.Cut(example, "\n\n")
	c, err := Parse("example", []byte("policy:\n  rules:\n"+regexp.MustCompile(`(?m)^  # `).ReplaceAllString(example, "  ")))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Policy.Rules) != 3 || c.Policy.Rules[0].DestinationPorts[1] != (Ports{PortRange: vocabulary.Ports(853, 853)}) {
		t.Errorf("example read as %+v", c.Policy.Rules)
	}
}

func TestEmptyFiles(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "queues:\nguard:\n  # mode: off\n", "{}"} {
		c, err := Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(Default(), c, comparePrefixes); diff != "" {
			t.Errorf("%q is not the default:\n%s", text, diff)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	full := Default()
	full.Backend = vocabulary.BackendGoNFQueue
	full.Queues = Queues{
		First: 100, Count: 4, MaxLength: 1 << 31, CopyRange: 128, FailOpen: true, GSO: true, Conntrack: true, UIDGID: true,
		ReceiveBuffer: 0, Batch: 1024, Pin: []int{0, 3},
	}
	full.Metrics = Metrics{Listen: "[::1]:9470"}
	full.Guard = Guard{
		Mode: vocabulary.GuardOff, FirstQueue: 65532, Queues: 2, Hold: time.Millisecond, HoldLimit: time.Hour, Flows: 1, FlowPackets: 1, Bytes: 65535,
		Settled: false, SettledTimeout: 1500 * time.Millisecond, SettledSize: 2, ExemptPorts: []uint16{443, 1},
	}
	full.Rules = Rules{
		Install: false, Table: "a_b", Placement: vocabulary.PlacementVerdict3, Fanout: vocabulary.FanoutNumgen, Bypass: vocabulary.Off, Manage: vocabulary.ManageObserve,
		Families: []vocabulary.Family{vocabulary.IPv6}, Protocols: []vocabulary.Protocol{6, 17, 136, 132}, DestinationPorts: []uint16{53, 65535}, SourcePorts: []uint16{1},
		MarkMask: 0xff00, ConnMarkMask: 0xff0000,
	}
	full.Policy.Default, full.Policy.Undecodable, full.Policy.Rules = vocabulary.Drop, vocabulary.Accept, []Rule{
		{
			Name: "53", Action: vocabulary.Accept,
			Match: Match{
				Protocols: []vocabulary.Protocol{17}, Source: prefixes("192.0.2.0/24", "2001:db8::/32"),
				SourcePorts: []Ports{{PortRange: vocabulary.Ports(53, 53)}, {PortRange: vocabulary.Ports(1000, 2000)}},
			},
		},
		{Action: vocabulary.Drop, Match: Match{Protocols: []vocabulary.Protocol{1, 58, 47}, Destination: prefixes("::/0")}},
	}
	full.Analysis = Analysis{Distribution: vocabulary.DistributionLogNormal, Delay: 3 * time.Millisecond, Sigma: 0.25, Max: time.Second, Per: vocabulary.PerFlow}
	full.Statistics.File = "-"
	full.Control.Socket = ""

	odd := Default()
	odd.Statistics.File = "true: # not a comment"
	odd.Policy.Rules = []Rule{{Name: "null", Action: vocabulary.Drop}}

	for name, want := range map[string]*Config{"default": Default(), "full": full, "odd": odd} {
		t.Run(name, func(t *testing.T) {
			text, err := want.YAML()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(name, text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if diff := cmp.Diff(want, got, comparePrefixes); diff != "" {
				t.Errorf("differs (-want +got):\n%s\n%s", diff, text)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v", err)
	}
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte("backend: mmsgs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":1:10: backend: ") {
		t.Errorf("Load = %v", err)
	}
}

func TestNearest(t *testing.T) {
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("distance = %d, want 3", d)
	}
	if got := nearest("qeues", []string{"backend", "queues", "rules"}); got != "queues" {
		t.Errorf("nearest = %q", got)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	policies, err := filepath.Glob("../../configs/policies/*.yaml")
	if err != nil || len(policies) == 0 {
		f.Fatal(policies, err)
	}
	for _, name := range policies {
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, problem := range problems {
		f.Add([]byte(problem.text))
	}
	for _, problem := range languageProblems {
		f.Add([]byte(rule(problem.keys)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f", text)
		if err != nil {
			if !regexp.MustCompile(`^f:\d+:\d+: `).MatchString(err.Error()) {
				t.Errorf("no position in %v", err)
			}
			return
		}
		if math.IsNaN(c.Analysis.Sigma) {
			t.Error("sigma is not a number")
		}
		written, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", written)
		if err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		if diff := cmp.Diff(c, again, comparePrefixes, comparePairs, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("differs (-first +again):\n%s\n%s", diff, written)
		}
	})
}
