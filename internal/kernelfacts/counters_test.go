package kernelfacts_test

import (
	"reflect"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

func identify(t *testing.T, release string) kernelfacts.Build {
	t.Helper()
	b, err := kernelfacts.Identify(kernelfacts.Names{Release: release})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCountersOf(t *testing.T) {
	const (
		yes, no, maybe = kernelfacts.Present, kernelfacts.Missing, kernelfacts.PresenceUnknown
	)
	failed, both, resolve := []string{"insert_failed"}, []string{"insert_failed", "drop"}, []string{"clash_resolve"}
	long := []string{"chain_toolong", "insert_failed"}
	for release, want := range map[string]kernelfacts.CounterMeaning{
		"4.6.7":                       {no, no, nil, nil, []string{}, kernelfacts.NotAffected},
		"4.7.0":                       {no, no, failed, both, []string{}, kernelfacts.NotAffected},
		"4.18.0":                      {no, no, failed, both, []string{}, kernelfacts.Affected},
		"5.9.16":                      {no, no, failed, both, []string{}, kernelfacts.Affected},
		"5.10.0":                      {yes, no, resolve, both, []string{}, kernelfacts.Affected},
		"5.10.0-rc4":                  {maybe, no, nil, both, []string{}, kernelfacts.Affected},
		"5.14.21":                     {yes, no, resolve, both, []string{}, kernelfacts.Affected},
		"5.15.0":                      {yes, yes, resolve, both, long, kernelfacts.Affected},
		"6.11.0":                      {yes, yes, resolve, both, long, kernelfacts.Affected},
		"6.12.0":                      {yes, yes, resolve, both, long, kernelfacts.Fixed},
		"3.10.0-1160.el7.x86_64":      {no, no, failed, both, []string{}, kernelfacts.NotAffected},
		"3.10.0-1160.66.1.el7.x86_64": {no, no, failed, both, []string{}, kernelfacts.Unknown},
		"3.10.0-1127.el7.x86_64":      {maybe, maybe, nil, nil, nil, kernelfacts.Unknown},
		"4.18.0-425.3.1.el8.x86_64":   {maybe, maybe, nil, both, nil, kernelfacts.Unknown},
		"5.14.0-427.el9.x86_64":       {yes, maybe, resolve, both, nil, kernelfacts.Unknown},
		"6.12.0-55.9.1.el10_0.x86_64": {yes, yes, resolve, both, long, kernelfacts.Fixed},
	} {
		if got := kernelfacts.CountersOf(identify(t, release)); !reflect.DeepEqual(got, want) {
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
		m := kernelfacts.CountersOf(identify(t, release))
		if got := m.InsertFailed(); !strings.Contains(got, want[0]) {
			t.Errorf("%s: insert_failed counts %q, want %q in it", release, got, want[0])
		}
		if got := m.Hidden(); (got == "") != (want[1] == "") || !strings.Contains(got, want[1]) {
			t.Errorf("%s: hidden are %q, want %q in it", release, got, want[1])
		}
	}
}

func TestClashResolution(t *testing.T) {
	for release, want := range map[string]kernelfacts.Resolution{
		"4.6.7":                       kernelfacts.ResolutionNone,
		"4.7.0":                       kernelfacts.ResolutionAdopts,
		"4.17.19":                     kernelfacts.ResolutionAdopts,
		"4.18.0":                      kernelfacts.ResolutionReinject,
		"6.11.11":                     kernelfacts.ResolutionReinject,
		"6.12.1":                      kernelfacts.ResolutionAdopts,
		"3.10.0-1160.el7.x86_64":      kernelfacts.ResolutionAdopts,
		"3.10.0-1160.66.1.el7.x86_64": kernelfacts.ResolutionUnknown,
		"3.10.0-1127.el7.x86_64":      kernelfacts.ResolutionUnknown,
		"5.14.0-427.el9.x86_64":       kernelfacts.ResolutionUnknown,
		"6.12.0-55.9.1.el10_0.x86_64": kernelfacts.ResolutionAdopts,
	} {
		if got, why := kernelfacts.ClashResolution(identify(t, release)); got != want || why == "" {
			t.Errorf("%s: %s (%s), want %s", release, got, why, want)
		}
	}
	if got, _ := kernelfacts.ClashResolution(kernelfacts.Build{}); got != kernelfacts.ResolutionUnknown {
		t.Errorf("a kernel that is not known: %s", got)
	}
}

func TestEventsSetting(t *testing.T) {
	for value, want := range map[uint64]string{0: "off", 1: "on", 2: "auto", 3: "not a known value"} {
		if got := kernelfacts.EventsSetting(value); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %q, want %q", value, got, want)
		}
	}
}
