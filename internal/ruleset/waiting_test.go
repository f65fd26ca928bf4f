package ruleset

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// TestGateDropsNothingThatWaits: connection tracking is active for IPv4 alone, as a firewall for IPv4 makes it, and a
// gate for IPv4 is made while packets wait in another program's queue. They wait on.
func TestGateDropsNothingThatWaits(t *testing.T) {
	const another, packets = 7, 5
	ns := onlyIPv4(t)
	q, err := nfq.OpenMmsg(nfq.Config{Queue: another})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	kind, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: family, Name: "another"})
	chain := conn.AddChain(&nftables.Chain{
		Table: table, Name: "output", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityMangle,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{queueStatement(kind, queueRange{first: another, total: 1})}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	f := open(t, ns, ns, netip.MustParseAddrPort("127.0.0.1:5300"))
	for range packets {
		f.send(1)
	}
	g := testGate()
	g.Traffic = []Traffic{{IPv4: true, Protocols: []uint8{unix.IPPROTO_UDP}}}
	install(t, gateAlone(g))
	// The kernel takes away what a transaction has deleted a moment later.
	for until := time.Now().Add(hardly); time.Now().Before(until); time.Sleep(time.Millisecond) {
		queues, err := nfq.ReadKernelQueues()
		if err != nil || len(queues) != 1 || queues[0].Queued != packets {
			t.Fatalf("%+v, %v; want %d packets to wait", queues, err, packets)
		}
	}
}

// onlyIPv4 has the test in a namespace in which IPv4 alone is tracked.
func onlyIPv4(t *testing.T) *netlab.NetNS {
	t.Helper()
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	leave, err := ns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leave(); err != nil {
			t.Error(err)
		}
	})
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "firewall"})
	conn.AddRule(&nftables.Rule{
		Table: table, Chain: conn.AddChain(&nftables.Chain{Table: table, Name: "tracks"}),
		Exprs: entryStatus(expr.CmpOpNeq, statusConfirmed),
	})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return ns
}
