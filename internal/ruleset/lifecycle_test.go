package ruleset

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// tableNames lists all tables, of any family.
func tableNames(t *testing.T) []string {
	t.Helper()
	tables, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, table := range tables {
		names = append(names, table.Name)
	}
	return names
}

func baseChains(t *testing.T, table string) []string {
	t.Helper()
	chains, err := (&nftables.Conn{}).ListChains()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range chains {
		if c.Table.Name == table && c.Hooknum != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

// Every placement and fan-out installs, is left alone a second time, detaches
// with its base chains kept, and goes without a trace.
func TestLifecycle(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		for _, fanout := range vocabulary.Fanouts() {
			t.Run(fmt.Sprintf("%s/%s", placement, fanout), func(t *testing.T) {
				testkit.Namespace(t)
				c := udpRules(placement, fanout, 3)
				i := install(t, c)
				if want, err := Probe(); err != nil || i.Kind() != want {
					t.Errorf("kind %q, want %q (%v)", i.Kind(), want, err)
				}
				base := baseChains(t, c.Table)
				if len(base) != len(hooks(placement)) {
					t.Errorf("base chains %v, want %d", base, len(hooks(placement)))
				}

				if change, err := new(Installed).Apply(c); err != nil || change.Any() {
					t.Errorf("installed twice: %+v, error %v", change, err)
				}

				if err := i.Detach(); err != nil {
					t.Fatal(err)
				}
				if after := baseChains(t, c.Table); !slices.Equal(after, base) {
					t.Errorf("base chains %v after Detach, want %v", after, base)
				}

				if err := i.Remove(); err != nil {
					t.Fatal(err)
				}
				if names := tableNames(t); !slices.Equal(names, []string{netlab.AnchorTable}) {
					t.Errorf("tables %v are left", names)
				}
				if err := i.Remove(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), c.Table) {
					t.Errorf("removed twice: error %v", err)
				}
				if err := i.Detach(); !errors.Is(err, ErrNotFound) {
					t.Errorf("detached after removal: error %v", err)
				}
			})
		}
	}
}

func TestPlacementNoneDoesNothing(t *testing.T) {
	testkit.Namespace(t)
	i, err := Install(udpRules(vocabulary.PlacementNone, vocabulary.FanoutBalance, 1))
	if err != nil {
		t.Fatal(err)
	}
	if names := tableNames(t); !slices.Equal(names, []string{netlab.AnchorTable}) {
		t.Errorf("tables %v", names)
	}
	if err := errors.Join(i.Detach(), i.Remove()); err != nil {
		t.Error(err)
	}
}

// Packets that wait for a verdict survive Detach, and do not survive Remove.
// New ones are not queued after either.
func TestWaitingPackets(t *testing.T) {
	for _, test := range []struct {
		name      string
		stop      func(*Installed) error
		delivered bool
	}{
		{"detach", (*Installed).Detach, true},
		{"remove", (*Installed).Remove, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
			hold := make(chan struct{})
			l := listen(t, c, hold)
			i := install(t, c)
			_, _, loopback := ends(false)
			f := open(t, ns, ns, at(loopback))
			f.send(1)
			if f.receive(hardly) {
				t.Fatal("delivered without a verdict")
			}
			waitFor(t, l, 1)
			if err := test.stop(i); err != nil {
				t.Fatal(err)
			}
			f.deliver() // passes by
			close(hold)
			patience := hardly
			if test.delivered {
				patience = surely
			}
			if got := f.receive(patience); got != test.delivered {
				t.Errorf("the waiting packet's delivery is %v, want %v", got, test.delivered)
			}
			if n := len(l.take()); n != 0 {
				t.Errorf("%d more packets were queued, want the first alone", n)
			}
		})
	}
}

// A table of the same name by another program is left alone.
func TestForeignTable(t *testing.T) {
	testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Name: c.Table, Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{Name: queueChain, Table: table})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{verdict(expr.VerdictAccept, "")}, UserData: []byte{0, 200, 1}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}

	if _, err := Install(c); !errors.Is(err, ErrForeign) || strings.Contains(err.Error(), "rules remove") {
		t.Errorf("Install: error %v", err)
	}
	if err := Remove(c.Table); !errors.Is(err, ErrForeign) {
		t.Errorf("Remove: error %v", err)
	}
	if _, err := Show(c.Table); !errors.Is(err, ErrForeign) {
		t.Errorf("Show: error %v", err)
	}
	if names := tableNames(t); !slices.Contains(names, c.Table) {
		t.Errorf("the table is gone: %v", names)
	}
}

// A table of the same name in another family does not matter.
func TestOtherFamily(t *testing.T) {
	testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
	conn := &nftables.Conn{}
	conn.AddTable(&nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(c.Table); !errors.Is(err, ErrNotFound) {
		t.Errorf("Remove: error %v", err)
	}
	install(t, c)
}

// Remove finds a table that another Installed made, also after Detach.
func TestRemoveByName(t *testing.T) {
	testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
	c.Table = "other_name"
	i := install(t, c)
	if err := i.Detach(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(c.Table); err != nil {
		t.Fatal(err)
	}
	if names := tableNames(t); slices.Contains(names, c.Table) {
		t.Errorf("tables %v", names)
	}
}

// The probe agrees with the kernel's answers and leaves nothing behind.
func TestProbe(t *testing.T) {
	testkit.Namespace(t)
	for _, kind := range []Kind{KindNative, KindXT} {
		if err := try(queueStatement(kind, queueRange{total: 1})); err != nil && !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: error %v, want none or ENOENT", kind, err)
		}
	}
	want := KindXT
	if try(&expr.Queue{Total: 1}) == nil {
		want = KindNative
	}
	kind, err := Probe()
	if err != nil || kind != want {
		t.Errorf("Probe() = %q, %v, want %q", kind, err, want)
	}
	if names := tableNames(t); !slices.Equal(names, []string{netlab.AnchorTable}) {
		t.Errorf("tables %v are left", names)
	}
}

// An expression that no kernel has is told from one that it has.
func TestTryFails(t *testing.T) {
	testkit.Namespace(t)
	if err := try(&expr.Target{Name: "NOSUCHTARGET", Info: queueStatement(KindXT, queueRange{}).(*expr.Target).Info}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v, want ENOENT", err)
	}
}

// Without the privilege the error says which one is missing.
func TestPermission(t *testing.T) {
	ns := testkit.Namespace(t)
	failed := make(chan error)
	go func() {
		// Ends with its goroutine, as it is without its capabilities.
		runtime.LockOSThread()
		if _, err := ns.Enter(); err != nil {
			failed <- err
			return
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			failed <- err
			return
		}
		_, err := Install(udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1))
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("error %v, want one that names CAP_NET_ADMIN", err)
	}
}
