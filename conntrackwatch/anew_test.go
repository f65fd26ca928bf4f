package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// one begins a flow in a namespace.
func one(t *testing.T, ns *netlab.NetNS, to string, port int) {
	t.Helper()
	if err := ns.Do(func() error {
		c, err := net.Dial("udp4", net.JoinHostPort(to, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte("x"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestEventsGoOn: as in the other modes, the end of a namespace is said and not the end,
// and one that is made under its name is listened in.
func TestEventsGoOn(t *testing.T) {
	local, remote := testkit.VethPair(t)
	for name, args := range map[string][]string{
		"followed": {"events", "--json"}, "lines": {"events", "--format", "table"}, "counted": {"events", "--count", "--json"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x")
			point := func(ns *netlab.NetNS) {
				t.Helper()
				_ = os.Remove(file)
				if ns == nil {
					return
				}
				if err := os.Symlink(ns.Path(), file); err != nil {
					t.Fatal(err)
				}
			}
			point(local)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var results, remarks said
			defer func() {
				if t.Failed() {
					t.Logf("it said: %s", remarks.String())
				}
			}()
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, append(args, "--netns", file, "--listen", "127.0.0.1:0"), output{&results, &remarks})
			}()
			url := remarks.waitFor(t, `http://\S+`)
			events := func(n int) {
				t.Helper()
				waitForMetric(t, url, fmt.Sprintf(`conntrackwatch_events_total{netns=%q,type="new"} %d`, file, n))
			}
			one(t, local, testkit.RemoteIPv4.Addr().String(), 1001)
			events(1)
			point(nil)
			remarks.waitFor(t, "is gone")
			point(remote)
			remarks.waitFor(t, "is there again")
			one(t, remote, testkit.LocalIPv4.Addr().String(), 1002)
			events(2)
			cancel()
			if status := <-ended; status != cli.Done {
				t.Errorf("status %d: %s", status, remarks.String())
			}
			if name == "lines" {
				if n := strings.Count(results.String(), "[NEW]"); n != 2 {
					t.Errorf("%d new flows in %s", n, results.String())
				}
				return
			}
			var r struct{ Total map[string]uint64 }
			if err := json.Unmarshal([]byte(results.String()), &r); err != nil || r.Total["new"] != 2 {
				t.Errorf("%v: want both flows in %s", err, results.String())
			}
		})
	}
}
