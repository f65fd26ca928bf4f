package config

import (
	"strings"
	"testing"
	"time"
)

func TestBears(t *testing.T) {
	gap := Gap{Rate: 20_000, Length: 300 * time.Millisecond, Bytes: 100}
	for name, test := range map[string]struct {
		change func(*Config)
		gap    Gap
		want   []string // settings that are named
	}{
		"defaults":       {func(*Config) {}, gap, []string{"queues.max_length"}},
		"no traffic":     {func(*Config) {}, Gap{}, nil},
		"set as told":    {func(c *Config) { c.Queues.MaxLength = 6064 }, gap, nil},
		"one too few":    {func(c *Config) { c.Queues.MaxLength = 6063 }, gap, []string{"queues.max_length"}},
		"long packets":   {func(c *Config) { c.Queues.MaxLength = 20_000 }, Gap{20_000, time.Second / 2, 1500}, []string{"queues.receive_buffer"}},
		"their heads":    {func(c *Config) { c.Queues.MaxLength = 20_000 }, Gap{20_000, time.Second / 2, 512}, nil},
		"system default": {func(c *Config) { c.Queues.MaxLength, c.Queues.ReceiveBuffer = 6064, 0 }, gap, []string{"queues.receive_buffer"}},
		"long gap": {func(c *Config) { c.Queues.MaxLength, c.Queues.ReceiveBuffer = 1<<20, 1<<30 }, Gap{20_000, 10 * time.Second, 100},
			[]string{"guard.queues"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			test.change(c)
			words := c.Bears(test.gap)
			if len(words) != len(test.want) {
				t.Fatalf("%q, want words about %v", words, test.want)
			}
			for i, w := range test.want {
				if !strings.Contains(words[i], w) {
					t.Errorf("%q does not name %s", words[i], w)
				}
			}
		})
	}
}
