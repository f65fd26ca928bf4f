package ct

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"golang.org/x/sys/unix"

	"verdictd/internal/ruleset"
)

// provoke makes flows of some packets each in the thread's namespace, all but one packet of each a clash: a queue on
// the way to confirm holds the packets of a flow, each with an unconfirmed entry of its own, and then lets them go.
// All have to arrive.
func provoke(t *testing.T, flows, packets int) {
	t.Helper()
	const (
		queueNumber = 7
		patience    = 5 * time.Second
	)
	receiver := udpSocket(t)
	port := receiver.LocalAddr().(*net.UDPAddr).Port

	queue, err := nfqueue.Open(&nfqueue.Config{
		NfQueue: queueNumber, MaxPacketLen: 0xffff, Copymode: nfqueue.NfQnlCopyPacket, WriteTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = queue.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held := make(chan uint32, packets)
	err = queue.RegisterWithErrorFunc(ctx,
		func(a nfqueue.Attribute) int { held <- *a.PacketID; return 0 },
		func(error) int { return 0 }, // a packet that does not come is noticed below
	)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := ruleset.Install(ruleset.Config{
		Table: "provoke", Placement: ruleset.PlacementOutput, Fanout: ruleset.FanoutBalance,
		FirstQueue: queueNumber, Queues: 1, IPv4: true,
		Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{uint16(port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rules.Remove(); err != nil {
			t.Error(err)
		}
	}()

	for range flows {
		sender := udpSocket(t) // a port of its own: a new flow
		for range packets {
			if _, err := sender.WriteTo([]byte("x"), receiver.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		ids := make([]uint32, packets)
		for i := range ids {
			select {
			case ids[i] = <-held:
			case <-time.After(patience):
				t.Fatalf("packet %d of a flow was not queued within %v", i, patience)
			}
		}
		for _, id := range ids {
			if err := queue.SetVerdict(id, nfqueue.NfAccept); err != nil {
				t.Fatal(err)
			}
		}
		if err := receiver.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for range packets {
			if _, err := receiver.Read(make([]byte, 16)); err != nil {
				t.Fatalf("a packet that was let go did not arrive: %v", err)
			}
		}
	}
}
