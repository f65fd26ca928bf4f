package ruleset

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   []string // parts of the error; none: valid
	}{
		{"valid", func(*Config) {}, nil},
		{"last queue", func(c *Config) { c.FirstQueue, c.Queues = 65535, 1 }, nil},
		{"all queues", func(c *Config) { c.FirstQueue, c.Queues = 0, 65535 }, nil},
		{"ports of every protocol that has them", func(c *Config) { c.Protocols, c.SourcePorts = vocabulary.PortProtocols(), []uint16{1} }, nil},
		{"no name", func(c *Config) { c.Table = "" }, []string{`""`}},
		{"name with a space", func(c *Config) { c.Table = "a b" }, []string{`"a b"`}},
		{"long name", func(c *Config) { c.Table = strings.Repeat("x", 32) }, []string{"31"}},
		{"past the last queue", func(c *Config) { c.FirstQueue, c.Queues = 65535, 2 }, []string{"65536", "65535"}},
		{"too many chains", func(c *Config) { c.Fanout, c.Queues = vocabulary.FanoutPorts, 257 }, []string{"257", "ports", "256"}},
		{"many queues without chains", func(c *Config) { c.Queues = 257 }, nil},
		{"ports without protocols", func(c *Config) { c.Protocols, c.SourcePorts = nil, []uint16{1} }, []string{"ports"}},
		{"ports of ICMP", func(c *Config) {
			c.Protocols, c.DestinationPorts = []uint8{unix.IPPROTO_UDP, unix.IPPROTO_ICMP}, []uint16{1}
		}, []string{"protocol 1"}},
		{"everything at once", func(c *Config) { *c = Config{} }, []string{"table", "placement", "fan-out", "queues", "family"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
			test.change(&c)
			err := c.validate()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("error %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %s", err, part)
				}
			}
		})
	}
}

// Install refuses a bad configuration before it talks to the kernel.
func TestInstallValidates(t *testing.T) {
	if _, err := Install(Config{}); err == nil {
		t.Error("installed nothing at all")
	}
}
