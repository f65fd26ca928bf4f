package guard

import (
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var errNoUser = errors.New("another user is root's to be")

// as runs f in a namespace as another user with some groups, on a thread that ends with it.
func as(t *testing.T, ns *netlab.NetNS, uid int, groups []uint32, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, and the system calls below are of this thread alone
		_, err := ns.Enter()
		if err != nil {
			done <- err
			return
		}
		_, _, set := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
		_, _, group := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid))
		_, _, user := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		if set|group|user != 0 {
			done <- errNoUser
			return
		}
		done <- f()
	}()
	if err := <-done; errors.Is(err, errNoUser) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// TestClaims: a table is claimed by one daemon, whoever it runs as, and nobody else can keep a daemon from it.
func TestClaims(t *testing.T) {
	const one, other = 65533, 65534
	ns := testkit.Namespace(t)
	as(t, ns, other, nil, func() error { return nil }) // or all of it is skipped
	claim := func() (io.Closer, error) { return Claim("claimed") }
	bound := func() (io.Closer, error) { // and does not listen
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@verdictd/claimed"})
		}
		return os.NewFile(uintptr(fd), "bound"), err
	}
	for name, test := range map[string]struct {
		uid    int
		groups []uint32
		first  func() (io.Closer, error)
		claims bool // the second one does, too
	}{
		"a unit's user":          {one, []uint32{0}, claim, false},
		"of many groups":         {one, []uint32{7, 8, 0, 9}, claim, false},
		"the same user":          {other, nil, claim, false},
		"somebody":               {one, []uint32{7}, claim, true},
		"somebody who is silent": {one, []uint32{7}, bound, true},
	} {
		t.Run(name, func(t *testing.T) {
			var first io.Closer
			as(t, ns, test.uid, test.groups, func() (err error) {
				first, err = test.first()
				return err
			})
			as(t, ns, other, []uint32{0}, func() error {
				second, err := claim()
				if (err == nil) != test.claims {
					t.Errorf("another one's claim: %v", err)
				}
				if !test.claims || err != nil {
					return nil //nolint:nilerr // it is to be refused
				}
				third, err := claim() // as by a daemon with another table, from which somebody keeps the name, too
				if err != nil {
					t.Errorf("another claim beside it: %v", err)
					return second.Close()
				}
				return errors.Join(second.Close(), third.Close())
			})
			if err := first.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
