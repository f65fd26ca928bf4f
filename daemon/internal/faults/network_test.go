package faults

import (
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
)

// TestInterfaceGoes: packets wait in the queue for an interface that goes down, or altogether. The kernel drops them,
// and the verdicts on them meet nothing; later packets are judged as before.
func TestInterfaceGoes(t *testing.T) {
	for name, away := range map[string]string{"down": "ip link set near0 down", "gone": "ip link del near0"} {
		t.Run(name, func(t *testing.T) {
			e := twoEnds(t)
			c := childtest.Daemon(t, e.near, guarded+thinking)
			e.judges()
			go e.send(4)
			awaitWaiting(e)
			childtest.Shell(t, e.near, away)
			e.send(1)
			if name == "down" {
				childtest.Shell(t, e.near, "ip link set near0 up")
			} else {
				e.cable()
			}
			e.receive(1 << 20)
			e.judges()
			c.Stop()
			leavesNothing(t, e.near)
		})
	}
}

// awaitWaiting waits until packets wait for verdicts.
func awaitWaiting(e *ends) {
	e.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, q := range queues(e, e.near) {
			if q.Queued > 0 {
				return
			}
		}
	}
	e.Fatal("no packet waits")
}

// TestNamespacesGo: the other end's namespace goes, with packets on their way to it; then the name of the daemon's own
// one does, which holds it for itself.
func TestNamespacesGo(t *testing.T) {
	e := twoEnds(t)
	c := childtest.Daemon(t, e.near, guarded+thinking)
	e.judges()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		e.send(4)
	}()
	awaitWaiting(e)
	<-sent
	if err := e.in.Close(); err != nil {
		t.Error(err)
	}
	if err := e.far.Close(); err != nil {
		t.Error(err)
	}
	again, err := netlab.OpenNetNS("/proc/" + pid(c) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	if err := e.near.Close(); err != nil {
		t.Error(err)
	}
	c.Stop()
	leavesNothing(t, again)
}

// TestPacketsVanish: a base chain is deleted, another program's, while packets wait, and all rules are flushed: the
// kernel empties all queues. Whatever was lost so, the next packets are judged.
func TestPacketsVanish(t *testing.T) {
	e := twoEnds(t)
	c := childtest.Daemon(t, e.near, guarded+thinking)
	childtest.NFT(t, e.near, "table ip foreign { chain c { type filter hook output priority 50; }; }")
	e.judges()
	for _, fault := range []string{"nft delete table ip foreign", "nft flush ruleset"} {
		go e.send(8)
		awaitWaiting(e)
		childtest.Shell(t, e.near, fault)
		e.receive(1 << 20)
		awaitRules(e)
		e.judges()
	}
	if s := c.Stop(); s.Total.VerdictErrors == 0 {
		t.Error("no verdict met a packet that was gone: the test shows nothing")
	}
	leavesNothing(t, e.near)
}

// awaitRules waits until the daemon's rules are there, which it puts back.
func awaitRules(e *ends) {
	e.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(childtest.Shell(e, e.near, "nft list table inet verdictd 2>&1 || :"), "verdictd: select and queue") {
			return
		}
	}
	e.Error("the rules are not back within 10 s")
}

// TestQueueTaken: another process has a number that the daemon wants: it names the number and who has it, and leaves
// nothing of what it had opened already.
func TestQueueTaken(t *testing.T) {
	for name, tt := range map[string]struct {
		taken  uint16
		config string
	}{
		"first":     {0, guarded},
		"last":      {2, guarded + "queues: {count: 3}\n"},
		"gonfqueue": {1, guarded + "backend: gonfqueue\nqueues: {count: 2}\n"},
		"gate":      {61440, guarded},
		"gate-last": {61443, "guard: {mode: hold, queues: 2}\nrules: {placement: output, destination_ports: [5300]}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := host(t)
			var holder nfq.Queue
			if err := ns.Do(func() (err error) {
				holder, err = nfq.OpenMmsg(nfq.Config{Queue: tt.taken})
				return err
			}); err != nil {
				t.Fatal(err)
			}
			c := childtest.Start(t, ns, childtest.Program(t, "run", "--config", configuration(t, tt.config)))
			refuses(t, c, 1, "queue "+number(tt.taken), "port id")
			if list := queues(t, ns); len(list) != 1 || list[0].Queue != tt.taken {
				t.Errorf("queues %+v, want that of the holder alone", list)
			}
			if err := holder.Close(); err != nil {
				t.Error(err)
			}
			leavesNothing(t, ns)
		})
	}
}

// TestSecondDaemon: a second one with the same configuration refuses, and the first one goes on.
func TestSecondDaemon(t *testing.T) {
	e := twoEnds(t)
	first := childtest.Daemon(t, e.near, guarded)
	second := childtest.Start(t, e.near, childtest.Program(t, "run", "--config", configuration(t, guarded)))
	refuses(t, second, 1)
	e.judges()
	first.Stop()
	leavesNothing(t, e.near)
}

// TestWithoutIPv6: a namespace in which IPv6 is off, with the default of both families.
func TestWithoutIPv6(t *testing.T) {
	e := twoEnds(t)
	for _, where := range []string{"all", "default", "lo"} {
		if err := e.near.SetSysctl("ipv6/conf/"+where+"/disable_ipv6", "1"); err != nil {
			t.Fatal(err)
		}
	}
	c := childtest.Daemon(t, e.near, guarded)
	e.judges()
	c.Stop()
	leavesNothing(t, e.near)
}
