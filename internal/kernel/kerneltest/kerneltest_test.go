package kerneltest_test

import (
	"net"
	"os"
	"testing"

	"verdictd/internal/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

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
		kerneltest.Namespace(t)
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
		kerneltest.VethPair(t)
		second = namespace(t)
		if _, err := net.InterfaceByName(kerneltest.LocalLink); err != nil {
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
