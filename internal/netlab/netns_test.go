package netlab_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func newNetNS(t *testing.T) *netlab.NetNS {
	t.Helper()
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// current identifies the calling thread's network namespace.
func current(t *testing.T) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDoEntersAndLeaves(t *testing.T) {
	outer, inner := newNetNS(t), newNetNS(t)
	home := current(t)
	var inOuter, inInner, backInOuter string
	err := outer.Do(func() error {
		inOuter = current(t)
		err := inner.Do(func() error {
			inInner = current(t)
			return os.ErrPermission
		})
		backInOuter = current(t)
		return err
	})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("Do lost the function's error: %v", err)
	}
	if inOuter == home || inInner == home || inOuter == inInner {
		t.Errorf("three namespaces expected: %s, %s, %s", home, inOuter, inInner)
	}
	if backInOuter != inOuter || current(t) != home {
		t.Errorf("not taken back: %s then %s, started in %s then %s", backInOuter, current(t), inOuter, home)
	}
}

func TestDoLeavesAfterPanic(t *testing.T) {
	ns := newNetNS(t)
	home := current(t)
	func() {
		defer func() { _ = recover() }()
		_ = ns.Do(func() error { panic("in the namespace") })
	}()
	if now := current(t); now != home {
		t.Errorf("in %s after a panic, want %s", now, home)
	}
}

// A service with CAP_NET_ADMIN alone works in the namespace that it is in.
func TestDoWhereItIs(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread's capabilities end with it
		done <- func() error {
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&head, &none[0]); err != nil {
				return err
			}
			here, err := netlab.OpenNetNS("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			ran := false
			err = errors.Join(here.Do(func() error { ran = true; return nil }), here.Close())
			if err == nil && !ran {
				err = errors.New("it did not run")
			}
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDoAfterClose(t *testing.T) {
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	home := current(t)
	if err := ns.Do(func() error { return nil }); err == nil {
		t.Error("entered a closed namespace")
	}
	if now := current(t); now != home {
		t.Errorf("in %s, want %s", now, home)
	}
}

// The ways by which a child process gets to a namespace.
func TestChildProcess(t *testing.T) {
	ns := newNetNS(t)
	var want string
	if err := ns.Do(func() error { want = current(t); return nil }); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name  string
		file  string
		start func(*exec.Cmd) error
	}{
		{"started inside", "/proc/self/ns/net", func(c *exec.Cmd) error { return ns.Do(c.Start) }},
		{"by path", ns.Path(), (*exec.Cmd).Start},
		{"by descriptor", "/proc/self/fd/3", func(c *exec.Cmd) error {
			c.ExtraFiles = []*os.File{ns.File()}
			return c.Start()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			cmd := exec.Command("readlink", test.file)
			cmd.Stdout = &out
			if err := test.start(cmd); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(out.String()); got != want {
				t.Errorf("the child sees %s, want %s", got, want)
			}
		})
	}
}

func TestOpenNetNS(t *testing.T) {
	ns := newNetNS(t)
	again, err := netlab.OpenNetNS(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var a, b string
	if err := ns.Do(func() error { a = current(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := again.Do(func() error { b = current(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Errorf("opened %s by the path of %s", b, a)
	}

	missing := filepath.Join(t.TempDir(), "none")
	if _, err := netlab.OpenNetNS(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v: want one that names %s", err, missing)
	}
}

func TestSysctl(t *testing.T) {
	ns := newNetNS(t)
	if err := ns.EnableForwarding(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		var value []byte
		err := ns.Do(func() (err error) {
			value, err = os.ReadFile(filepath.Join("/proc/sys/net", name))
			return err
		})
		if err != nil || string(value) != "1\n" {
			t.Errorf("%s is %q (%v), want 1", name, value, err)
		}
	}
	if err := ns.SetSysctl("ipv4/no_such_setting", "1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a setting that does not exist", err)
	}
}

// exchange sends one datagram from one namespace to an address of another,
// and has it sent back.
func exchange(t *testing.T, from, to *netlab.NetNS, address netip.Addr) {
	t.Helper()
	var server, client net.PacketConn
	err := to.Do(func() (err error) {
		server, err = net.ListenPacket("udp", netip.AddrPortFrom(address, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	err = from.Do(func() (err error) {
		client, err = net.ListenPacket("udp", "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	deadline := time.Now().Add(5 * time.Second)
	for _, conn := range []net.PacketConn{server, client} {
		if err := conn.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	buffer := make([]byte, 16)
	if _, err := client.WriteTo([]byte("ping"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	n, peer, err := server.ReadFrom(buffer)
	if err != nil {
		t.Fatalf("at %v: %v", address, err)
	}
	if _, err := server.WriteTo(buffer[:n], peer); err != nil {
		t.Fatal(err)
	}
	if n, _, err = client.ReadFrom(buffer); err != nil || string(buffer[:n]) != "ping" {
		t.Fatalf("back from %v: %q, %v", address, buffer[:n], err)
	}
}

func TestLoopback(t *testing.T) {
	ns := newNetNS(t)
	exchange(t, ns, ns, netip.MustParseAddr("127.0.0.1"))
	exchange(t, ns, ns, netip.MustParseAddr("::1"))
}

// Addresses are usable as soon as AddAddress returns, also those of hosts.
func TestAddAddress(t *testing.T) {
	ns := newNetNS(t)
	for _, text := range []string{"192.0.2.7/32", "198.51.100.7/24", "2001:db8::7/128", "2001:db8:1::7/64"} {
		address := netip.MustParsePrefix(text)
		if err := ns.AddAddress("lo", address); err != nil {
			t.Fatal(err)
		}
		exchange(t, ns, ns, address.Addr())
	}
	if err := ns.AddAddress("lo", netip.MustParsePrefix("192.0.2.7/32")); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v for an address added twice", err)
	}
}

func TestVethPair(t *testing.T) {
	local, remote := testkit.VethPair(t)
	exchange(t, local, remote, testkit.RemoteIPv4.Addr())
	exchange(t, local, remote, testkit.RemoteIPv6.Addr())
	exchange(t, remote, local, testkit.LocalIPv4.Addr())
	exchange(t, remote, local, testkit.LocalIPv6.Addr())
}

// Three namespaces, the middle one a router.
func TestRouter(t *testing.T) {
	client, router, server := newNetNS(t), newNetNS(t), newNetNS(t)
	near := netip.MustParsePrefix("192.0.2.0/24")
	near6 := netip.MustParsePrefix("2001:db8:1::/64")
	far := netip.MustParsePrefix("198.51.100.0/24")
	far6 := netip.MustParsePrefix("2001:db8:2::/64")
	host := func(network netip.Prefix, n byte) netip.Prefix {
		address := network.Addr().AsSlice()
		address[len(address)-1] = n
		a, _ := netip.AddrFromSlice(address)
		return netip.PrefixFrom(a, network.Bits())
	}

	for _, pair := range [][2]netlab.Endpoint{
		{
			{NetNS: client, Link: "up", Addresses: []netip.Prefix{host(near, 1), host(near6, 1)}},
			{NetNS: router, Link: "near", Addresses: []netip.Prefix{host(near, 2), host(near6, 2)}},
		}, {
			{NetNS: router, Link: "far", Addresses: []netip.Prefix{host(far, 2), host(far6, 2)}},
			{NetNS: server, Link: "up", Addresses: []netip.Prefix{host(far, 1), host(far6, 1)}},
		},
	} {
		if err := netlab.AddVeth(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := router.EnableForwarding(); err != nil {
		t.Fatal(err)
	}
	for _, route := range []struct {
		ns      *netlab.NetNS
		to      netip.Prefix
		gateway netip.Prefix
	}{
		{client, far, host(near, 2)},
		{client, far6, host(near6, 2)},
		{server, near, host(far, 2)},
		{server, near6, host(far6, 2)},
	} {
		if err := route.ns.AddRoute(route.to, route.gateway.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, client, server, host(far, 1).Addr())
	exchange(t, client, server, host(far6, 1).Addr())
}

func TestLinkErrorsNameTheLink(t *testing.T) {
	ns := newNetNS(t)
	if err := ns.SetUp("absent0"); err == nil || !strings.Contains(err.Error(), "absent0") {
		t.Errorf("SetUp of a missing interface: %v", err)
	}
	err := netlab.AddVeth(netlab.Endpoint{NetNS: ns, Link: "lo"}, netlab.Endpoint{NetNS: ns, Link: "b"})
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("AddVeth with a name in use: %v", err)
	}
}
