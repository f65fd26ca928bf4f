package service

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/control"
	"verdictd/internal/config"
	"verdictd/internal/packet"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// twoPorts drops what goes to the second port, and with more what a rule on payload says.
func twoPorts(copied, more string) string {
	return fmt.Sprintf(`guard: {mode: "off"}
rules: {destination_ports: [5300, 5301]}
queues: {copy_range: %s}
policy:
  rules:
    - {name: port, destination_ports: [5301], action: drop}
%s`, copied, more)
}

// marked is a rule on bytes far behind the headers, and markedAt where they are.
const (
	markedAt = 1000
	marked   = "    - {name: marked, payload: [{offset: 1000, bytes: \"6d61726b\"}], action: drop}\n"
)

// TestCopiedByThePolicy: as much of packets is copied as the policy looks at, verdicts are those on whole packets, and
// the daemon tells.
func TestCopiedByThePolicy(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", twoPorts("auto", ""))
	in, away := listen(t, ns, loopback4), listen(t, ns, netip.AddrPortFrom(loopback4.Addr(), port+1))
	out, other := dial(t, ns, loopback4), dial(t, ns, netip.AddrPortFrom(loopback4.Addr(), port+1))
	var before *control.Status
	for _, test := range []struct {
		copied, more string
		bytes        uint32
		why          string
		truncated    uint64
	}{
		{"auto", "", packet.MaxHeaders, "headers, as no rule looks further", 0},
		{"0", "", vocabulary.MaxCopyRange, "as configured", 0},
		{"auto", marked, packet.MaxHeaders + markedAt + 4, "the first 1004 bytes of the payload", 0},
		{"700", "", 700, "as configured", 4},
		{"auto", "    - {dns: {}, action: drop}\n", vocabulary.MaxCopyRange, "all, as rules look for names", 0},
		{"auto", "", packet.MaxHeaders, "headers, as no rule looks further", 0},
	} {
		r.done(twoPorts(test.copied, test.more) + fmt.Sprintf("log: {drops: %d}\n", 1+test.bytes%7+uint32(len(test.more)+len(test.copied))))
		payloads := []string{"short", strings.Repeat("a", 1400), strings.Repeat("b", 8000)}
		write(t, out, payloads...)
		write(t, other, payloads...)
		want(t, in, payloads...)
		want(t, away)
		s := r.status()
		if s.Copied == nil || s.Copied.Bytes != test.bytes || s.Copied.Configured != test.copied || !strings.Contains(s.Copied.Why, test.why) {
			t.Errorf("%+v: copied %+v", test, s.Copied)
		}
		if q := s.Queues[0]; q.CopyRange != test.bytes {
			t.Errorf("%+v: the kernel copies %d bytes", test, q.CopyRange)
		}
		var text bytes.Buffer
		if err := s.WriteText(&text); err != nil || !strings.Contains(text.String(), fmt.Sprintf("%d bytes of each packet (queues.copy_range %s)", test.bytes, test.copied)) {
			t.Errorf("%v in\n%s", err, &text)
		}
		e, err := r.client.Effective(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c, err := config.Parse("again", []byte(e.YAML)); err != nil || c.Queues.CopyRange.String() != test.copied || !strings.Contains(e.YAML, s.Copied.Comment()) {
			t.Errorf("%+v: %v in\n%s", test, err, e.YAML)
		}
		if !strings.Contains(r.Log(), fmt.Sprintf("copied=%d", test.bytes)) {
			t.Errorf("the log does not say that %d bytes are copied", test.bytes)
		}
		now := s.Statistics.Total
		if now.Undecodable+now.CopiedAgain != 0 {
			t.Errorf("%+v: %+v", test, now)
		}
		if before != nil {
			was := before.Statistics.Total
			if now.Received-was.Received != 6 || now.Dropped-was.Dropped != 3 || now.Truncated-was.Truncated != test.truncated {
				t.Errorf("%+v: %+v, before %+v", test, now, was)
			}
		}
		before = s
	}
	r.Stop()
}

// TestCopyRangeThatIsTooSmall: a number has to be enough for what rules look at, at the start and in a reload.
func TestCopyRangeThatIsTooSmall(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", twoPorts("1200", ""))
	answer := r.reload(twoPorts("1100", marked))
	if answer.Result != control.Refused || len(answer.Problems) != 1 || answer.Problems[0].Key != "queues.copy_range" ||
		!strings.Contains(answer.Problems[0].Error(), ":5:22: ") || !strings.Contains(answer.Problems[0].Text, "set it to auto, to 0, or to 1168 at least") {
		t.Errorf("%+v", answer)
	}
	if s := r.status(); s.Copied.Bytes != 1200 || s.Queues[0].CopyRange != 1200 {
		t.Errorf("in force: %+v, %+v", s.Copied, s.Queues)
	}
	r.done(twoPorts("1168", marked))
	r.Stop()
}

// good is a policy that accepts what has some bytes far behind the headers.
const good = "    - {name: good, payload: [{offset: 1000, bytes: \"676f6f64\"}], action: accept}\n  default: drop\n"

// ledger is a stream of packets of which every second one is good, few of them under way, and what became of them. Good
// ones are accepted by all policies.
type ledger struct {
	sending sync.Mutex // held while a packet is made and sent
	strict  bool       // what is sent now is to be dropped if it is not good
	passed  atomic.Int64
	seen    atomic.Int64 // number of the last good packet that came
	come    atomic.Int64 // good packets
	sent    int
}

const underWay = 40

func (l *ledger) packet(b []byte, n int) {
	clear(b)
	binary.BigEndian.PutUint64(b, uint64(n))
	if n%2 == 0 {
		copy(b[markedAt:], "good")
	} else if l.strict {
		b[8] = 1
	}
}

// set says what is to become of packets from now on. Those before are past the queue when it returns.
func (l *ledger) set(t *testing.T, strict bool) {
	t.Helper()
	l.sending.Lock()
	l.strict = strict
	sent := l.sent
	l.sending.Unlock()
	l.await(t, sent+1)
}

// await waits until a packet has come that is not before the n-th.
func (l *ledger) await(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); l.seen.Load() < int64(n); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("of %d packets the last that came is %d", n, l.seen.Load())
		}
	}
}

// send sends packets until the end, and an even number of them.
func (l *ledger) send(t *testing.T, out *net.UDPConn, end <-chan struct{}) {
	b := make([]byte, 1400)
	for {
		select {
		case <-end:
			if l.sent%2 == 0 {
				return
			}
		default:
		}
		if int64(l.sent)-l.seen.Load() > underWay {
			time.Sleep(20 * time.Microsecond)
			continue
		}
		l.sending.Lock()
		l.packet(b, l.sent+1)
		_, err := out.Write(b)
		l.sent++
		l.sending.Unlock()
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// receive looks at what comes until the socket is closed.
func (l *ledger) receive(in *net.UDPConn) {
	b := make([]byte, 2048)
	for {
		if _, err := in.Read(b); err != nil {
			return
		}
		n := int64(binary.BigEndian.Uint64(b))
		switch {
		case n%2 == 0:
			l.come.Add(1)
			l.seen.Store(n)
		case b[8] == 1:
			l.passed.Add(1)
		}
	}
}

// TestReloadCopies: while packets come, reloads go from rules on headers to rules on payload and back.
// What is sent when a reload has returned meets its rules, nothing else is dropped, and no packet lacks
// what a rule looks at.
func TestReloadCopies(t *testing.T) {
	ns := testkit.Namespace(t)
	const slow = "analysis: {distribution: fixed, delay: 50us}\n" // so that packets wait
	headers, payload := slow+twoPorts("auto", ""), slow+twoPorts("auto", good)
	r := newReloadable(t, ns, "run", headers)
	in, out := listen(t, ns, loopback4), dial(t, ns, loopback4)
	option(t, in, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	l := &ledger{}
	end := make(chan struct{})
	var sender, receiver sync.WaitGroup
	receiver.Go(func() { l.receive(in) })
	sender.Go(func() { l.send(t, out, end) })
	const rounds = 25
	for range rounds {
		r.done(payload)
		l.set(t, true)
		time.Sleep(2 * time.Millisecond)
		l.set(t, false)
		r.done(headers)
	}
	close(end)
	sender.Wait()
	l.await(t, l.sent)
	s := r.status()
	_ = in.Close()
	receiver.Wait()
	if l.passed.Load() != 0 || l.come.Load() != int64(l.sent/2) {
		t.Errorf("%d packets passed that are not good; %d of %d others came", l.passed.Load(), l.come.Load(), l.sent/2)
	}
	c := s.Statistics.Total
	if c.Undecodable+c.Truncated+c.VerdictErrors != 0 || c.Received != c.Accepted+c.Dropped || c.Received != uint64(l.sent) || c.Dropped == 0 {
		t.Errorf("%+v of %d", c, l.sent)
	}
	if c.CopiedAgain > rounds*(underWay+1) {
		t.Errorf("%d packets were copied again, and %d were under way when rules looked further", c.CopiedAgain, rounds*(underWay+1))
	}
	t.Logf("%d packets, %d dropped, %d copied again", l.sent, c.Dropped, c.CopiedAgain)
	r.Stop()
}
