package attacks

import "testing"

// TestHarness is the plain case in the three topologies: everything arrives, and clashes without the guard.
func TestHarness(t *testing.T) {
	for name, test := range map[string]struct {
		hosts     func(testing.TB, ...string) hosts
		placement string
	}{
		"one host": {oneHost, "output"}, "two hosts": {twoHosts, "input"}, "router": {routed, "forward"},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 200, clashes: 50,
				play: func(r *run) outcome {
					h := test.hosts(r, "ipv4")
					r.daemon(h.Queue, analysis+"rules: {placement: "+test.placement+", destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port))
					burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
					return r.end(in, 200)
				},
			})
		})
	}
}
