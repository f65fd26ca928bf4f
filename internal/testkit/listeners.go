package testkit

import (
	"os"
	"strings"
	"testing"
	"time"

	"verdictd/internal/netlab"
)

// AwaitListeners waits until so many sockets listen for conntrack's events in a namespace. Any goroutine may call it.
func AwaitListeners(t testing.TB, ns *netlab.NetNS, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var b []byte
		err := ns.Do(func() (err error) {
			b, err = os.ReadFile("/proc/thread-self/net/netlink")
			return err
		})
		if err != nil {
			t.Error(err)
			return
		}
		found := 0
		for line := range strings.Lines(string(b)) {
			// sk, protocol (12: netfilter), port, groups (new, update, destroy).
			if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "12" && strings.HasSuffix(fields[3], "7") {
				found++
			}
		}
		if found >= n {
			return
		}
	}
	t.Errorf("no %d listeners within 10 s", n)
}
