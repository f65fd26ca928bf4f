package language

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/testkit"
)

// pinger sends questions at a steady rate and tells how long each took through the queue: until the kernel had it for
// the socket that it goes to, as the test's own threads wait for a CPU, too.
type pinger struct {
	t     *testing.T
	out   net.Conn
	in    *net.UDPConn
	mutex sync.Mutex
	sent  []time.Time // by number
	took  []time.Duration
	end   chan struct{}
	// Whoever sends, and whoever receives.
	sending, receiving sync.WaitGroup
}

// ping begins to send a question each interval.
func ping(t *testing.T, interval time.Duration) *pinger {
	t.Helper()
	p := &pinger{t: t, in: listen(t, 53), out: dial(t, "udp4", 53), end: make(chan struct{})}
	childtest.Roomy(t, p.in)
	raw, err := p.in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); errors.Join(e, err) != nil {
		t.Fatal(e, err)
	}
	p.sending.Go(func() { p.send(interval) })
	p.receiving.Go(p.receive)
	return p
}

func (p *pinger) send(interval time.Duration) {
	q := question("www.example.org")
	place := len(q)
	q = append(q, 0, 0, 0, 0) // behind the message: its number
	for next := time.Now(); ; next = next.Add(interval) {
		select {
		case <-p.end:
			return
		case <-time.After(time.Until(next)):
		}
		p.mutex.Lock()
		binary.BigEndian.PutUint32(q[place:], uint32(len(p.sent)))
		p.sent = append(p.sent, time.Now().Round(0)) // on the clock of arrivals
		p.mutex.Unlock()
		if _, err := p.out.Write(q); err != nil {
			p.t.Error(err)
			return
		}
	}
}

func (p *pinger) receive() {
	b, control := make([]byte, 2048), make([]byte, 256)
	for {
		n, length, _, _, err := p.in.ReadMsgUDP(b, control)
		if err != nil {
			return // it is closed
		}
		came, err := arrival(control[:length])
		if err != nil {
			p.t.Error(err)
			return
		}
		p.mutex.Lock()
		p.took = append(p.took, came.Sub(p.sent[binary.BigEndian.Uint32(b[n-4:])]))
		p.mutex.Unlock()
	}
}

// arrival is when the kernel handed a packet to its socket (SO_TIMESTAMPNS).
func arrival(control []byte) (time.Time, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS {
			var at unix.Timespec
			_, err := binary.Decode(m.Data, binary.NativeEndian, &at)
			return time.Unix(at.Unix()), err
		}
	}
	return time.Time{}, errors.New("a packet without the time of its arrival")
}

// since is the times of packets that have come since the last call.
func (p *pinger) since() []time.Duration {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	took := p.took
	p.took = nil
	return took
}

// stop ends it, and returns how many were sent and have not come.
func (p *pinger) stop(came int) (lost int) {
	p.t.Helper()
	close(p.end)
	p.sending.Wait() // or one more is sent when all have come
	await(p.t, "all packets", func() bool {
		came += len(p.since())
		p.mutex.Lock()
		defer p.mutex.Unlock()
		return came >= len(p.sent)
	})
	_ = p.in.Close()
	p.receiving.Wait()
	return len(p.sent) - came
}

// quantile is of times, which are put in order.
func quantile(times []time.Duration, q float64) time.Duration {
	slices.Sort(times)
	return times[int(float64(len(times)-1)*q)]
}

// largePolicy is a configuration with 1,000 rules and two sets in files, and what the files have: so many entries each.
func largePolicy(d *daemon, entries, version int) (text, names, prefixes string) {
	var rules, list strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&rules, "    - {name: r%d, source: [203.0.113.%d/32], protocols: [udp], destination_ports: [%d], action: drop}\n", i, i%256, 1000+i+version)
	}
	for i := range entries {
		fmt.Fprintf(&list, "%d.%d.%d.0/24\n", 1+i>>16%100, i>>8&0xff, i&0xff)
	}
	return fmt.Sprintf(`
guard: {mode: "off"}
policy:
  sets:
    - {name: names, type: names, file: %q}
    - {name: prefixes, type: prefixes, file: %q}
  rules:
%s    - {name: blocked, dns: {names: ["@names"]}, action: drop}
    - {name: sources, source: ["@prefixes"], action: drop}
`, d.dir+"/names", d.dir+"/prefixes", rules.String()), million(entries, fmt.Sprintf("v%d.example", version)), list.String()
}

// TestReloadUnderLoad: 1,000 rules and two large sets are loaded while packets come, once as new ones and then from
// files that are replaced, and none is lost. With VERDICTD_RELOADS=N, on a machine that does nothing else, the sets
// have a million entries each, are loaded N times, and packets wait hardly longer meanwhile.
func TestReloadUnderLoad(t *testing.T) {
	rounds, entries := 2, 100_000
	text := os.Getenv("VERDICTD_RELOADS")
	if text != "" {
		entries = 1_000_000
		if _, err := fmt.Sscan(text, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	ns := testkit.Namespace(t)
	d := start(t, ns, "guard: {mode: \"off\"}\n")
	p := ping(t, 500*time.Microsecond)
	came := 0
	measured := func() []time.Duration {
		list := p.since()
		came += len(list)
		return list
	}
	var without, during []time.Duration
	for round := range rounds {
		configuration, names, prefixes := largePolicy(d, entries, round)
		measured() // what making that has cost does not count
		time.Sleep(time.Second)
		without = append(without, measured()...)
		began := time.Now()
		d.replace("names", names)
		d.replace("prefixes", prefixes)
		d.write(configuration)
		answer, err := d.client.Reload(t.Context())
		if err != nil || answer.Result != "done" {
			t.Fatalf("%+v, %v", answer, err)
		}
		// A set that there was before is read by who follows its file.
		await(t, "the sets", func() bool {
			return d.set("names").Loads == uint64(round+1) && d.set("prefixes").Loads == uint64(round+1)
		})
		took := time.Since(began)
		now := measured()
		during = append(during, now...)
		s := d.statistics()
		t.Logf("round %d: loaded in %.2f s, %d packets meanwhile, p99 %v, longest %v; resident %d MiB, at most %d",
			round, took.Seconds(), len(now), quantile(now, 0.99), quantile(now, 1), s.RSS.End>>10, s.RSS.Max>>10)
	}
	total := d.statistics().Total
	if lost := p.stop(came); lost != 0 || total.QueueDropped+total.UserDropped != 0 {
		t.Errorf("%d packets lost, %+v", lost, total.KernelDrops)
	}
	a, b := quantile(without, 0.99), quantile(during, 0.99)
	t.Logf("p50 %v without, %v during; p99 %v without, %v during: %.2f times", quantile(without, 0.5), quantile(during, 0.5), a, b, float64(b)/float64(a))
	if text != "" && b > 2*a {
		t.Errorf("99 of 100 packets take %v while the policy is loaded, %v at other times", b, a)
	}
	d.Stop()
}
