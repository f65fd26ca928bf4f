package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// TestSystemCalls: packets that wait together take the daemon one receive and one verdict a batch. They come
// while it stands still, so that its batches are full on any machine.
func TestSystemCalls(t *testing.T) {
	testkit.Require(t)
	const packets, batch = 192, 64 // more do not fit into a socket's send buffer, which they fill while they wait
	top, err := testbed.NewTopology("output", "ipv4")
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	daemon := startUnwaited(t, top.Queue, batch, packets)

	sink, source := udpPair(t, top.Queue, packets)
	arrived, want := 0, 0
	receive := func() bool {
		var buffer [16]byte
		for {
			if n, _, err := unix.Recvfrom(sink, buffer[:], unix.MSG_DONTWAIT); err != nil || n == 0 {
				return arrived >= want
			}
			arrived++
		}
	}
	// Until the daemon is at work, and has judged all of these.
	for deadline := time.Now().Add(testbed.ReadyWithin); ; {
		if _, err := source.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		want++
		for !receive() && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if queues := queuesIn(t, top.Queue); len(queues) == 1 && queues[0].IDSequence > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no packet came to the daemon's queue")
		}
	}
	traced := testkit.Trace(t, daemon.Process.Pid)
	want += packets
	for range packets {
		if _, err := source.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if queues := queuesIn(t, top.Queue); len(queues) != 1 || queues[0].Queued != packets {
		t.Fatalf("%+v, want %d packets that wait", queues, packets)
	}
	calls := ofWorker(t, traced.SystemCalls(receive))
	received := calls[unix.SYS_RECVMMSG] + calls[unix.SYS_RECVMSG] + calls[unix.SYS_RECVFROM]
	sent := calls[unix.SYS_SENDTO] + calls[unix.SYS_SENDMSG] + calls[unix.SYS_SENDMMSG]
	const full, beside = packets / batch, 2 // receives that find nothing left
	if received > full+beside || sent > full+beside || received == 0 || sent == 0 {
		t.Errorf("%d receives and %d sends for %d batches: %v", received, sent, full, calls)
	}
	t.Logf("%d packets: %v", packets, calls)
}

// ofWorker are the calls of the one thread that receives in batches and sends, too: what others do in the meantime, as
// reading counters or hearing events, is no packet's.
func ofWorker(t *testing.T, threads map[int]map[uint64]int) (calls map[uint64]int) {
	t.Helper()
	for _, of := range threads {
		if of[unix.SYS_RECVMMSG] == 0 || of[unix.SYS_SENDTO] == 0 {
			continue
		}
		if calls != nil {
			t.Fatalf("more than one thread judges the packets of one queue: %v", threads)
		}
		calls = of
	}
	if calls == nil {
		t.Fatalf("no thread judges packets: %v", threads)
	}
	return calls
}

// startUnwaited starts verdictd with one queue, as a child that nobody waits for before the end of the test.
func startUnwaited(t *testing.T, ns *netlab.NetNS, batch, packets int) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	buildPrograms(t, bin, "verdictd")
	g := testbed.NewGroup(t.Context(), t.TempDir())
	c := config.Default()
	c.Guard.Mode = vocabulary.GuardMode("off")
	c.Queues.Batch, c.Queues.MaxLength = batch, uint32(2*packets)
	c.Rules.Placement, c.Rules.Families = vocabulary.PlacementOutput, []vocabulary.Family{vocabulary.IPv4}
	c.Rules.DestinationPorts = []uint16{testbed.Port}
	c.Statistics.File = filepath.Join(g.Dir, "statistics.json")
	file, err := g.WriteConfig("verdictd.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.CommandContext(t.Context(), filepath.Join(bin, "verdictd"), "run", "--config", file)
	if err := ns.Do(daemon.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = daemon.Process.Kill(), daemon.Wait() })
	return daemon
}

// queuesIn are the kernel's in a namespace.
func queuesIn(t *testing.T, ns *netlab.NetNS) (queues []nfq.KernelQueue) {
	t.Helper()
	if err := ns.Do(func() (err error) {
		queues, err = nfq.ReadKernelQueues()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return queues
}

// udpPair is a socket that receives so many packets, and one that sends to it, in a namespace.
func udpPair(t *testing.T, ns *netlab.NetNS, room int) (sink int, source net.Conn) {
	t.Helper()
	n := netlab.Networks["ipv4"]
	err := ns.Do(func() (err error) {
		if sink, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		t.Cleanup(func() { _ = unix.Close(sink) })
		if err := unix.Bind(sink, &unix.SockaddrInet4{Addr: n.Target.As4(), Port: testbed.Port}); err != nil {
			return err
		}
		if err := testbed.RoomToReceive(sink, 2*room); err != nil {
			return err
		}
		source, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: n.Target.AsSlice(), Port: testbed.Port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return sink, source
}
