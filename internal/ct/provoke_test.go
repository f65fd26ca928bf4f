package ct

import (
	"net"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// QueueOutput has UDP to a port queued in OUTPUT, for the test's time: ruleset, whose rules
// these are, imports this package.
var QueueOutput func(t *testing.T, queue, port uint16)

// provoke makes flows of some packets each in the thread's namespace, all but one packet of each a clash: a queue on
// the way to confirm holds all the packets, each with an unconfirmed entry of its own, before it lets the first go. All
// have to arrive.
func provoke(t *testing.T, flows, packets int) {
	t.Helper()
	const queueNumber = 7
	receiver := udpSocket(t)
	port := receiver.LocalAddr().(*net.UDPAddr).Port

	queue, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: queueNumber})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := queue.Close(); err != nil {
			t.Error(err)
		}
	}()
	QueueOutput(t, queueNumber, uint16(port))

	for range flows {
		sender := udpSocket(t) // a port of its own: a new flow
		for range packets {
			// Returns when the packet is in the queue.
			if _, err := sender.WriteTo([]byte("x"), receiver.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
	}

	ended := acceptAll(queue)
	receiveAll(t, receiver, flows*packets)
	if err := queue.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// receiveAll takes so many packets.
func receiveAll(t *testing.T, receiver *net.UDPConn, packets int) {
	t.Helper()
	if err := receiver.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range packets {
		if _, err := receiver.Read(make([]byte, 16)); err != nil {
			t.Errorf("packet %d of %d did not arrive: %v", i, packets, err)
			return
		}
	}
}

// acceptAll lets everything pass that comes to a queue, until that is stopped.
func acceptAll(queue nfq.Queue) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		ended <- queue.Run(func(b *nfq.Batch) error {
			for _, p := range b.Packets {
				if err := queue.Reply(&nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: nfq.Accept}); err != nil {
					return err
				}
			}
			return queue.Flush()
		})
	}()
	return ended
}
