package kbuild

import (
	"strings"
	"testing"
)

func TestMerge(t *testing.T) {
	got, err := merge([]Fragment{
		{Name: "a", Text: "# a comment\nCONFIG_NET=y\nCONFIG_NR_CPUS=8\n\n# CONFIG_MODULES is not set\n"},
		{Name: "b", Text: "CONFIG_NR_CPUS=2\nCONFIG_CMDLINE=\"a b=c\"\n"},
	})
	if want := "CONFIG_NET=y\nCONFIG_NR_CPUS=2\nCONFIG_MODULES=n\nCONFIG_CMDLINE=\"a b=c\"\n"; err != nil ||
		got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, bad := range []string{"NET=y", "CONFIG_NET", "CONFIG_NET=", "CONFIG NET=y", "CONFIG_A B=y"} {
		if _, err := merge([]Fragment{{Name: "mine", Text: "CONFIG_A=y\n" + bad + "\n"}}); err == nil ||
			!strings.Contains(err.Error(), "mine: line 2") {
			t.Errorf("%q: error %v does not say where it is", bad, err)
		}
	}
}

func TestCheckNamesWhatDidNotComeOut(t *testing.T) {
	needed := Fragment{Name: "needed", Text: "CONFIG_NET=y\nCONFIG_NFT_QUEUE=y\n# CONFIG_MODULES is not set\n# CONFIG_BLOCK is not set\nCONFIG_NR_CPUS=8\n"}
	optional := Fragment{Name: "optional", Text: "CONFIG_NFT_MASQ=y\n", Optional: true}
	good := "CONFIG_NET=y\nCONFIG_NFT_QUEUE=y\n# CONFIG_MODULES is not set\nCONFIG_NR_CPUS=8\n"
	if err := check([]Fragment{needed, optional}, strings.NewReader(good)); err != nil {
		t.Errorf("all is as asked for: %v", err)
	}
	// An option that is off because it does not exist, one that is on, one of another value.
	bad := "CONFIG_NET=y\nCONFIG_BLOCK=y\nCONFIG_NR_CPUS=64\n"
	err := check([]Fragment{needed, optional}, strings.NewReader(bad))
	for _, want := range []string{
		"needed: asked for CONFIG_NFT_QUEUE=y, came out as n", "asked for CONFIG_BLOCK=n, came out as y",
		"asked for CONFIG_NR_CPUS=8, came out as 64",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "CONFIG_NET") || strings.Contains(err.Error(), "MODULES") ||
		strings.Contains(err.Error(), "MASQ")) {
		t.Errorf("error %v names what is as it may be", err)
	}
	// A later fragment overrides.
	mine := Fragment{Name: "mine", Text: "CONFIG_NR_CPUS=64\n"}
	if err := check([]Fragment{needed, mine}, strings.NewReader(strings.Replace(good, "=8", "=64", 1))); err != nil {
		t.Errorf("an option that a later fragment overrides: %v", err)
	}
}
