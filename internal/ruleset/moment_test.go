package ruleset

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// changesUnderTraffic is how often a table is changed while packets come.
const changesUnderTraffic = 60

// passing counts the packets of a flood that queues which are always full have let pass,
// while the table becomes one configuration after the other.
func passing(t *testing.T, configs []Config) (passed, sent int) {
	t.Helper()
	ns := testkit.Namespace(t)
	i := install(t, configs[0])
	for _, number := range []uint16{0, 1, 2, arrivals} {
		q, err := nfq.OpenMmsg(nfq.Config{Queue: number, MaxLength: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = q.Close() }()
	}
	f := open(t, ns, ns, netip.MustParseAddrPort("127.0.0.1:5300"))
	end := make(chan struct{})
	var senders sync.WaitGroup
	counts := make([]int, 2)
	for n := range counts {
		senders.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					_, _ = f.client.Write([]byte("x")) // EPERM: dropped, as a queue is full
					counts[n]++
				}
			}
		})
	}
	for n := range changesUnderTraffic {
		if _, err := i.Apply(configs[(n+1)%len(configs)]); err != nil {
			t.Error(err)
			break
		}
	}
	close(end)
	senders.Wait()
	passed = received(t, f)
	for _, n := range counts {
		sent += n
	}
	return passed, sent
}

// received empties the server's socket.
func received(t *testing.T, f *flow) (n int) {
	t.Helper()
	if err := f.server.SetReadDeadline(time.Now().Add(hardly)); err != nil {
		t.Fatal(err)
	}
	for ; ; n++ {
		if _, err := f.server.Read(make([]byte, 8)); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return n
		}
	}
}

// TestEveryPacketEnters: a packet that the gate selects before a change and after it
// meets the gate at every moment.
func TestEveryPacketEnters(t *testing.T) {
	var configs []Config
	for _, ports := range [][]vocabulary.PortRange{
		{vocabulary.Ports(5300, 5300)},
		{vocabulary.Ports(5300, 5301)},
		{vocabulary.Ports(53, 53), vocabulary.Ports(5000, 6000)},
	} {
		for _, exempt := range [][]uint16{nil, {53}} {
			g := testGate()
			g.Traffic[0].Ports, g.ExemptPorts = ports, exempt
			configs = append(configs, gateAlone(g))
		}
	}
	if passed, sent := passing(t, configs); passed > 0 {
		t.Errorf("%d of %d packets have passed by the gate", passed, sent)
	}
}

// TestEveryPacketQueues: and so do packets that are to be judged, whatever queue is to
// have them.
func TestEveryPacketQueues(t *testing.T) {
	for _, fanout := range []vocabulary.Fanout{vocabulary.FanoutNumgen, vocabulary.FanoutPorts} {
		t.Run(string(fanout), func(t *testing.T) {
			var configs []Config
			for _, queues := range []uint16{2, 3} {
				for _, ports := range [][]uint16{{5300}, {53, 5300}, nil} {
					c := udpRules(vocabulary.PlacementOutput, fanout, queues)
					c.DestinationPorts = ports
					configs = append(configs, c)
				}
			}
			if passed, sent := passing(t, configs); passed > 0 {
				t.Errorf("%d of %d packets have passed unjudged", passed, sent)
			}
		})
	}
}
