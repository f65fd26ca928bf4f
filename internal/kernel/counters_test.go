package kernel_test

import (
	"reflect"
	"strings"
	"testing"

	"verdictd/internal/kernel"
)

func identify(t *testing.T, release string) kernel.Build {
	t.Helper()
	b, err := kernel.Identify(kernel.Names{Release: release})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCountersOf(t *testing.T) {
	const (
		yes, no, maybe = kernel.Present, kernel.Missing, kernel.PresenceUnknown
	)
	failed, both, resolve := []string{"insert_failed"}, []string{"insert_failed", "drop"}, []string{"clash_resolve"}
	long := []string{"chain_toolong", "insert_failed"}
	for release, want := range map[string]kernel.CounterMeaning{
		"4.6.7":                       {no, no, nil, nil, []string{}, kernel.NotAffected},
		"4.7.0":                       {no, no, failed, both, []string{}, kernel.NotAffected},
		"4.18.0":                      {no, no, failed, both, []string{}, kernel.Affected},
		"5.9.16":                      {no, no, failed, both, []string{}, kernel.Affected},
		"5.10.0":                      {yes, no, resolve, both, []string{}, kernel.Affected},
		"5.10.0-rc4":                  {maybe, no, nil, both, []string{}, kernel.Affected},
		"5.14.21":                     {yes, no, resolve, both, []string{}, kernel.Affected},
		"5.15.0":                      {yes, yes, resolve, both, long, kernel.Affected},
		"6.11.0":                      {yes, yes, resolve, both, long, kernel.Affected},
		"6.12.0":                      {yes, yes, resolve, both, long, kernel.Fixed},
		"3.10.0-1160.el7.x86_64":      {no, no, failed, both, []string{}, kernel.NotAffected},
		"3.10.0-1160.66.1.el7.x86_64": {no, no, failed, both, []string{}, kernel.Unknown},
		"3.10.0-1127.el7.x86_64":      {maybe, maybe, nil, nil, nil, kernel.Unknown},
		"4.18.0-425.3.1.el8.x86_64":   {maybe, maybe, nil, both, nil, kernel.Unknown},
		"5.14.0-427.el9.x86_64":       {yes, maybe, resolve, both, nil, kernel.Unknown},
		"6.12.0-55.9.1.el10_0.x86_64": {yes, yes, resolve, both, long, kernel.Fixed},
	} {
		if got := kernel.CountersOf(identify(t, release)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", release, got, want)
		}
	}
}

func TestCountersInWords(t *testing.T) {
	for release, want := range map[string][2]string{
		"4.6.7":                     {"is not known", ""},
		"4.10.0":                    {"clashes that were resolved, clashes whose packet was dropped", ""},
		"5.10.9":                    {"clashes whose packet was dropped", "in no counter"},
		"6.18.1":                    {"hash chains that were too long", ""},
		"4.18.0-425.3.1.el8.x86_64": {"perhaps clashes that were resolved", "is not known"},
	} {
		m := kernel.CountersOf(identify(t, release))
		if got := m.InsertFailed(); !strings.Contains(got, want[0]) {
			t.Errorf("%s: insert_failed counts %q, want %q in it", release, got, want[0])
		}
		if got := m.Hidden(); (got == "") != (want[1] == "") || !strings.Contains(got, want[1]) {
			t.Errorf("%s: hidden are %q, want %q in it", release, got, want[1])
		}
	}
}

func TestClashResolution(t *testing.T) {
	for release, want := range map[string]kernel.Resolution{
		"4.6.7":                       kernel.ResolutionNone,
		"4.7.0":                       kernel.ResolutionAdopts,
		"4.17.19":                     kernel.ResolutionAdopts,
		"4.18.0":                      kernel.ResolutionReinject,
		"6.11.11":                     kernel.ResolutionReinject,
		"6.12.1":                      kernel.ResolutionAdopts,
		"3.10.0-1160.el7.x86_64":      kernel.ResolutionAdopts,
		"3.10.0-1160.66.1.el7.x86_64": kernel.ResolutionUnknown,
		"3.10.0-1127.el7.x86_64":      kernel.ResolutionUnknown,
		"5.14.0-427.el9.x86_64":       kernel.ResolutionUnknown,
		"6.12.0-55.9.1.el10_0.x86_64": kernel.ResolutionAdopts,
	} {
		if got, why := kernel.ClashResolution(identify(t, release)); got != want || why == "" {
			t.Errorf("%s: %s (%s), want %s", release, got, why, want)
		}
	}
	if got, _ := kernel.ClashResolution(kernel.Build{}); got != kernel.ResolutionUnknown {
		t.Errorf("a kernel that is not known: %s", got)
	}
}

func TestEventsSetting(t *testing.T) {
	for value, want := range map[uint64]string{0: "off", 1: "on", 2: "auto", 3: "not a known value"} {
		if got := kernel.EventsSetting(value); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %q, want %q", value, got, want)
		}
	}
}
