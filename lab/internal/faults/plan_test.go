package faults

import (
	"slices"
	"strings"
	"testing"
	"time"

	"verdictd/internal/report"
)

func testConfig() *Config {
	return &Config{Duration: time.Minute, Seed: 7, Rate: 5000, Guard: report.GuardHold,
		Programs: []string{report.ProgramVerdictd}}
}

// steps are the first of a sequence, in words.
func steps(c *Config, most int) (list []string) {
	c.sequence()(func(s step) bool {
		list = append(list, s.name+" "+s.Lasts.String()+" "+s.pause.String())
		return len(list) < most
	})
	return list
}

// TestSequence: a seed says all, each round has every kind once, and a plan is kept to.
func TestSequence(t *testing.T) {
	c := testConfig()
	n := len(kinds())
	first := steps(c, 3*n)
	if again := steps(c, 3*n); !slices.Equal(first, again) {
		t.Errorf("the same seed gives\n%v, and then\n%v", first, again)
	}
	other := testConfig()
	other.Seed++
	if slices.Equal(first, steps(other, 3*n)) {
		t.Error("another seed gives the same faults")
	}
	for round := range 3 {
		seen := map[string]bool{}
		for _, s := range first[round*n : (round+1)*n] {
			name, _, _ := strings.Cut(s, " ")
			seen[name] = true
		}
		if len(seen) != n {
			t.Errorf("round %d has %d of %d kinds", round, len(seen), n)
		}
	}
	c.Plan = map[string]int{"reload": 5, "kill": 2}
	count := map[string]int{}
	for _, s := range steps(c, 100) {
		name, _, _ := strings.Cut(s, " ")
		count[name]++
	}
	if count["reload"] != 5 || count["kill"] != 2 || len(count) != 2 {
		t.Errorf("the plan became %v", count)
	}
	c.Plan, c.Only = nil, []string{"flush"}
	for _, s := range steps(c, 5) {
		if !strings.HasPrefix(s, "flush ") {
			t.Errorf("%q, want flush alone", s)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"there is no fault":  func(c *Config) { c.Only = []string{"fire"} },
		"no end":             func(c *Config) { c.Duration = 0 },
		"--rate":             func(c *Config) { c.Rate = 1 },
		"comes first":        func(c *Config) { c.Programs = []string{report.ProgramLibrary} },
		"names its faults":   func(c *Config) { c.Plan, c.Only = map[string]int{"kill": 1}, []string{"kill"} },
		"--plan kill=-1":     func(c *Config) { c.Plan = map[string]int{"kill": -1} },
		"--duration -1s":     func(c *Config) { c.Duration = -time.Second },
		"no fault \"flood\"": func(c *Config) { c.Plan = map[string]int{"flood": 1} },
	} {
		c := testConfig()
		change(c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	if err := testConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// TestKinds: what is inherent is told with a reason, and of a column that there is.
func TestKinds(t *testing.T) {
	for _, k := range kinds() {
		if k.meaning == "" || k.draw == nil || k.play == nil {
			t.Errorf("%s is not complete", k.name)
		}
		for column, why := range k.inherent {
			if why == "" || !slices.Contains(columnNames[:], column) {
				t.Errorf("%s: %q is inherent as %q", k.name, column, why)
			}
		}
	}
}

// TestLate: a machine that stood still makes up for a little of it.
func TestLate(t *testing.T) {
	s := schedule{rate: 1000}
	if n := s.due(50*time.Millisecond, 0); n != 50 {
		t.Errorf("%d due after 50 ms, want 50", n)
	}
	if n := s.due(2050*time.Millisecond, 50); n != 151 {
		t.Errorf("%d due after 2 s without any, want 100 more and one", n)
	}
	if n := s.due(2060*time.Millisecond, 151); n != 161 {
		t.Errorf("%d due 10 ms later, want 10 more", n)
	}
}
