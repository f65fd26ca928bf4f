package build

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/lab/internal/kbuild"
)

// What the lab rests on must not slip out of what every kernel is checked for.
func TestKernelConfiguration(t *testing.T) {
	line := regexp.MustCompile(`^CONFIG_[A-Z0-9_]+=(y|[0-9]+)$`)
	seen := map[string]string{}
	for name, text := range map[string]string{"lab.config": labConfig, "optional.config": optionalConfig,
		"kasan.config": kasanConfig} {
		for n, l := range strings.Split(text, "\n") {
			if l == "" || strings.HasPrefix(l, "#") {
				continue
			}
			if !line.MatchString(l) {
				t.Errorf("%s:%d: %q", name, n+1, l)
			}
			option, _, _ := strings.Cut(l, "=")
			if other, ok := seen[option]; ok {
				t.Errorf("%s is in %s and in %s", option, other, name)
			}
			seen[option] = name
		}
	}
	for _, option := range []string{
		"IPV6", "NFT_QUEUE", "NETFILTER_XT_TARGET_NFQUEUE", "NETFILTER_NETLINK_GLUE_CT", "NF_CONNTRACK_EVENTS",
		"NF_CT_NETLINK", "VETH", "USER_NS", "NET_NS", "SMP",
	} {
		if seen["CONFIG_"+option] != "lab.config" {
			t.Errorf("%s is not asked of every kernel", option)
		}
	}
	if seen["CONFIG_KASAN"] != "kasan.config" {
		t.Error("--kasan does not ask for KASAN")
	}
}

func TestBuildProgress(t *testing.T) {
	for _, test := range []struct {
		step kbuild.Step
		want string
	}{
		{kbuild.Step{What: "unpacking the source"}, "unpacking the source"},
		{kbuild.Step{What: "compiling", Done: 1, Total: 1600, Elapsed: 2 * time.Second},
			"compiling, 1 of about 1600 steps in 2s"},
		{kbuild.Step{What: "compiling", Done: 400, Total: 1600, Elapsed: time.Minute, Left: 3 * time.Minute},
			"compiling, 400 of about 1600 steps in 1m0s, about 3m0s left"},
		{kbuild.Step{What: "compiling", Done: 1700, Elapsed: time.Minute},
			"compiling, 1700 steps in 1m0s, more than the last time"},
	} {
		if got := describeStep(test.step); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	// Where there is no terminal, not every step is a line.
	var out bytes.Buffer
	p := shownSteps{Progress: cli.NewProgress(&out), name: "fixed kernel"}
	defer p.End()
	for n := range 100 {
		p.step(kbuild.Step{What: "compiling", Done: n, Total: 100})
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines for one step:\n%s", n, out.String())
	}
}
