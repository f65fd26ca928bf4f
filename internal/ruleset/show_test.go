package ruleset

import (
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestShow(t *testing.T) {
	ns := testkit.Namespace(t)
	if _, err := Show("verdictd"); err == nil || !strings.Contains(err.Error(), "verdictd") {
		t.Errorf("error %v for a missing table", err)
	}

	c := udpRules(vocabulary.PlacementVerdict3, vocabulary.FanoutPorts, 2)
	c.Bypass = true
	c.DestinationPorts, c.SourcePorts = []uint16{5353, 53}, []uint16{53}
	i := install(t, c)
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback))
	f.deliver()

	suffix := ""
	if i.Kind() == KindXT {
		suffix = " (xt NFQUEUE)"
	}
	want := []string{
		`table inet verdictd {`,
		`set destination-ports { 53, 5353 }`,
		`set port-protocols { 17 }`,
		`set protocols { 17 }`,
		`set source-ports { 53 }`,
		`map queues-10-11 { 0 : goto queue-10, 1 : goto queue-11 }`,
		`chain input {`,
		`type filter hook input priority -2147483648`,
		`iif "lo" counter packets 1 bytes 29 accept comment "verdictd: queued on its way out"`,
		`jump select comment "verdictd: select and queue"`,
		`chain postrouting {`,
		`type filter hook postrouting priority -2147483648`,
		`chain select {`,
		`meta l4proto != @protocols return comment "verdictd: let other protocols pass"`,
		`th dport @destination-ports goto verdicts comment "verdictd: queue"`,
		`th sport @source-ports goto verdicts comment "verdictd: queue"`,
		`chain verdicts {`,
		`meta nfproto ipv4 meta l4proto @port-protocols jhash ip saddr . ip daddr . th sport . th dport mod 2 vmap @queues-10-11 comment "verdictd: queue by addresses and ports"`,
		`meta nfproto ipv6 meta l4proto @port-protocols jhash ip6 saddr . ip6 daddr . th sport . th dport mod 2 vmap @queues-10-11 comment "verdictd: queue by addresses and ports"`,
		`counter packets 0 bytes 0 queue flags bypass to 10-11` + suffix + ` comment "verdictd: no ports: queue by addresses"`,
		`chain queue-10 {`,
		`counter packets 0 bytes 0 queue flags bypass to 10` + suffix + ` comment "verdictd: queue"`,
		`chain queue-11 {`,
	}
	text, err := Show(c.Table)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(text) {
		lines[strings.TrimSpace(line)] = true
	}
	for _, line := range want {
		if !lines[line] {
			t.Errorf("the line is missing: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("shown:\n%s", text)
	}
}

// Show tells what is in the kernel, not what was once installed.
func TestShowIsLive(t *testing.T) {
	testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
	c.Detached = true
	install(t, c)

	conn := &nftables.Conn{}
	table := &nftables.Table{Name: c.Table, Family: nftables.TableFamilyINet}
	conn.AddRule(&nftables.Rule{
		Table: table,
		Chain: &nftables.Chain{Name: selectChain, Table: table},
		Exprs: []expr.Any{
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 1, DestRegister: unix.NFT_REG_1},
			&expr.Cmp{Op: expr.CmpOpGt, Register: unix.NFT_REG_1, Data: []byte{7}},
			&expr.Log{Level: expr.LogLevelInfo},
			verdict(expr.VerdictDrop, ""),
		},
	})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	text, err := Show(c.Table)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "@nh,64,8 > 0x07 [Log] drop\n") {
		t.Error("a rule that somebody added is missing")
	}
	if !strings.Contains(text, "chain output {\n\t\ttype filter hook output priority -150\n\t}\n") {
		t.Error("the base chain is not shown as empty")
	}
	if t.Failed() {
		t.Logf("shown:\n%s", text)
	}
}

// What verdicts in marks need is shown, too.
func TestShowVerdicts(t *testing.T) {
	testkit.Namespace(t)
	c := flowRules(vocabulary.PlacementVerdict3)
	install(t, c)
	text, err := Show(c.Table)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`map dropped-ipv4 { size 65536 timeout 1m0s  }`,
		`meta l4proto 6 @th,104,8 & 0x04 != 0x00 jump resets comment "verdictd: resets"`,
		`ct state related counter packets 0 bytes 0 accept comment "verdictd: resets of a reject pass"`,
		`meta mark & 0x30000 == 0x30000 meta l4proto 6 counter packets 0 bytes 0 reject with tcp reset comment "verdictd: rejected: reset"`,
		`meta mark & 0x30000 == 0x30000 counter packets 0 bytes 0 reject comment "verdictd: rejected: unreachable"`,
		`meta mark & 0x30000 == 0x30000 counter packets 0 bytes 0 drop comment "verdictd: rejected: dropped, as there is no reject here"`,
		`counter packets 0 bytes 0 meta mark set meta mark & 0xff00ffff comment "verdictd: take off marks of others"`,
		`ct mark & 0xff00 == 0x500 counter packets 0 bytes 0 accept comment "verdictd: flow is accepted"`,
		`meta mark & 0xff0000 == 0x50000 ct mark set ct mark & 0xffff00ff ^ 0x500 comment "verdictd: accept its flow, generation 1 in bits 0xff00"`,
		`meta nfproto ipv6 ip6 saddr . ip6 daddr . th sport . th dport . meta l4proto @dropped-ipv6 goto listed-ipv6 comment "verdictd: listed"`,
		`meta nfproto ipv4 add @dropped-ipv4 { ip saddr . ip daddr . th sport . th dport . meta l4proto : meta mark & 0xff0000 timeout 1m0s } comment "verdictd: list"`,
		`ip saddr . ip daddr . th sport . th dport . meta l4proto @dropped-ipv4 its value 0x70000 counter packets 0 bytes 0 meta mark set meta mark & 0xff00ffff ^ 0x30000 return comment "verdictd: rejected"`,
	} {
		if !strings.Contains(text, "\t"+want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
