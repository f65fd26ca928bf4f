package testkit_test

import (
	"net"
	"os"
	"testing"

	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func namespace(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNamespaceKeepsTheTestInside(t *testing.T) {
	home := namespace(t)
	var first, second string
	t.Run("first", func(t *testing.T) {
		testkit.Namespace(t)
		first = namespace(t)
		links, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		if len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
			t.Errorf("links %+v, want loopback alone and up", links)
		}
	})
	t.Run("second", func(t *testing.T) {
		testkit.VethPair(t)
		second = namespace(t)
		if _, err := net.InterfaceByName(testkit.LocalLink); err != nil {
			t.Error(err)
		}
	})
	if first == home || second == home || first == second {
		t.Errorf("namespaces %s, %s and %s, want three", home, first, second)
	}
	if now := namespace(t); now != home {
		t.Errorf("in %s after the tests, want %s", now, home)
	}
}

// TestLoopbackOutside: goroutines that are in no namespace of a test can talk to each other, as an ordinary user's too.
func TestLoopbackOutside(t *testing.T) {
	testkit.Require(t)
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}
