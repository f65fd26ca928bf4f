package ct_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

func init() {
	ct.QueueOutput = func(t *testing.T, queue, port uint16) {
		t.Helper()
		rules, err := ruleset.Install(ruleset.Config{
			Table: "provoke", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance,
			FirstQueue: queue, Queues: 1, IPv4: true,
			Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{port},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := rules.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}
