package service

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/control"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// How long a daemon may take to answer while all of its queues have as much to do as they can. What is demanded of a
// machine that has nothing else to do is answersIdle; the test's own bound is for one that has.
const (
	answersIdle = 50 * time.Millisecond
	answersBusy = time.Second
)

// TestAnswersUnderLoad: with one processor for Go code and two queues at full load, the daemon answers signals, metrics
// and reloads. Verdicts are sent without the knowledge of Go's scheduler, so each send must be short.
func TestAnswersUnderLoad(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1") // the child's: nfnl.AddThreads obeys it
	ns := testkit.Namespace(t)
	metrics := freeAddress(t)
	text := fmt.Sprintf("guard: {mode: \"off\"}\nrules: {destination_ports: [%d]}\nqueues: {count: 2, batch: 1024}\n"+
		"metrics: {listen: %q}\n", port, metrics)
	d := newReloadable(t, ns, "run", text)
	end := make(chan struct{})
	ended := make(chan error)
	const senders = 4 // both queues get some of their packets
	// Who asks has a processor of Go's beside the senders': it is the daemon that may have to wait for its one.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + senders))
	for i := range senders {
		go func() { ended <- load(ns, byte(i+1), end) }()
	}
	eventually(t, "packets in both queues", func() bool {
		answer, err := scrape(metrics, "/metrics")
		return err == nil && metric(answer, `verdictd_queue_received_total{queue="0"}`) > 1000 &&
			metric(answer, `verdictd_queue_received_total{queue="1"}`) > 1000
	})
	took := map[string][]time.Duration{}
	for try := range 9 {
		d.write(fmt.Sprintf("%spolicy: {rules: [{name: r%d, action: drop, mark: [77]}]}\n", text, try))
		time.Sleep(60 * time.Millisecond) // a file that was written just now is read later: see config.LoadAgain
		for what, ask := range map[string]func(){
			"metrics": func() { mustScrape(t, metrics) },
			"reload": func() {
				if answer := d.ask(); answer.Result != control.Done {
					t.Fatalf("the reload is %+v, want it to be done", answer)
				}
			},
			"signal": func() { d.rewritten(t) },
		} {
			began := time.Now()
			ask()
			took[what] = append(took[what], time.Since(began))
		}
	}
	close(end)
	for range senders {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for what, list := range took {
		slices.Sort(list)
		median := list[len(list)/2]
		t.Logf("%s: %v in the median, %v at most; an idle machine has %v", what, median, list[len(list)-1], answersIdle)
		if median > answersBusy {
			t.Errorf("%s took %v in the median, want %v at most", what, median, answersBusy)
		}
	}
	if c := d.Stop(); c.Total.VerdictErrors != 0 {
		t.Errorf("verdicts: %+v", c.Total)
	}
}

// load sends to both queues as fast as it can, until the end.
func load(ns *netlab.NetNS, source byte, end <-chan struct{}) error {
	return ns.Do(func() error {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, source)}, net.UDPAddrFromAddrPort(loopback4))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		for {
			select {
			case <-end:
				return nil
			default:
				_, _ = c.Write([]byte("load")) // refused where nobody listens: by the answer to one before
			}
		}
	})
}

func mustScrape(t *testing.T, address string) {
	t.Helper()
	if answer, err := scrape(address, "/metrics"); err != nil || !strings.Contains(answer, "200 OK") {
		t.Fatalf("metrics: %v %s", err, answer)
	}
}

// rewritten has a signal write the statistics, and returns when they are.
func (r *reloadable) rewritten(t *testing.T) {
	t.Helper()
	if err := os.Remove(r.File); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	r.Signal(unix.SIGUSR1)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(r.File); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no statistics after the signal")
		}
	}
}
