package netlab_test

import (
	"net"
	"os"
	"strings"
	"testing"
)

// Connections are tracked after ActivateConntrack, for both families, and not
// before it.
func TestActivateConntrack(t *testing.T) {
	ns := newNetNS(t)
	tracked := func(t *testing.T, port string) int {
		t.Helper()
		var table []byte
		err := ns.Do(func() error {
			for _, host := range []string{"127.0.0.1", "::1"} {
				conn, err := net.Dial("udp", net.JoinHostPort(host, port))
				if err != nil {
					return err
				}
				defer conn.Close()
				if _, err := conn.Write([]byte("x")); err != nil {
					return err
				}
			}
			var err error
			table, err = os.ReadFile("/proc/thread-self/net/nf_conntrack")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var entries int
		for line := range strings.Lines(string(table)) {
			if strings.Contains(line, " dport="+port+" ") {
				entries++
			}
		}
		return entries
	}

	if n := tracked(t, "7001"); n != 0 {
		t.Errorf("%d entries before any rule uses conntrack", n)
	}
	if err := ns.ActivateConntrack(); err != nil {
		t.Fatal(err)
	}
	if n := tracked(t, "7002"); n != 2 {
		t.Errorf("%d entries, want one for IPv4 and one for IPv6", n)
	}
}
