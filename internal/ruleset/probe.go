package ruleset

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Probe finds the queue statement that the kernel has.
func Probe() (Kind, error) {
	if err := probeTables(); err != nil {
		return "", err
	}
	native := try(queueStatement(KindNative, queueRange{total: 1}))
	if native == nil {
		return KindNative, nil
	}
	xt := try(queueStatement(KindXT, queueRange{total: 1}))
	if xt == nil {
		return KindXT, nil
	}
	return "", fmt.Errorf("the kernel has neither nftables' queue statement (CONFIG_NFT_QUEUE, module nft_queue): %w; nor the NFQUEUE target for nftables (CONFIG_NFT_COMPAT with CONFIG_NETFILTER_XT_TARGET_NFQUEUE, modules nft_compat and xt_NFQUEUE): %w", native, xt)
}

// probeTables tells whether there are nftables at all, and whether they may be used.
func probeTables() error {
	_, err := listTables()
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("read the nftables tables (needs CAP_NET_ADMIN in the network namespace): %w", err)
	case err != nil:
		return fmt.Errorf("read the nftables tables of family inet (needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, module nf_tables): %w", err)
	}
	return nil
}

// probeFeatures tells which feature that the configuration needs, apart from
// the queue statement, the kernel has not.
func probeFeatures(c Config) error {
	if c.Placement == vocabulary.PlacementNotrack {
		if err := try(&expr.Notrack{}); err != nil {
			return fmt.Errorf("placement %s needs nftables' notrack statement (CONFIG_NFT_CT, module nft_ct): %w", c.Placement, err)
		}
	}
	if !c.chainPerQueue() {
		return nil
	}
	switch c.Fanout {
	case vocabulary.FanoutPorts:
		if err := try(append(loadFlow(addressesIPv4), hashFlow(addressesIPv4, c.Queues))...); err != nil {
			return fmt.Errorf("fan-out %s needs nftables' hash expression (CONFIG_NFT_HASH, module nft_hash; since 4.9): %w", c.Fanout, err)
		}
	case vocabulary.FanoutNumgen:
		if err := try(turn(c.Queues)); err != nil {
			return fmt.Errorf("fan-out %s needs nftables' numgen expression (CONFIG_NFT_NUMGEN, module nft_numgen; since 4.9): %w", c.Fanout, err)
		}
	}
	return nil
}

// probeGate tells what of a gate the kernel can do. Without the ct expression
// there is no gate; without a part of the settled set, a reason. For the moment of
// the attempt, connection tracking is active in a family that the gate selects: of a
// table inet the rule would activate both families, and where nobody else does so for one
// its hooks go with the attempt, and with hooks the kernel drops what waits in all queues
// of the namespace (nf_ct_netns_put, nf_queue_nf_hook_drop).
func probeGate(g *Gate) (can gateParts, noSettled, err error) {
	tracked := nftables.TableFamilyIPv6
	if slices.ContainsFunc(g.Traffic, func(t Traffic) bool { return t.IPv4 }) {
		tracked = nftables.TableFamilyIPv4
	}
	if err := tryIn(tracked, nil, entryStatus(expr.CmpOpNeq, statusConfirmed)...); err != nil {
		return can, nil, fmt.Errorf("the gate needs nftables' ct expression (CONFIG_NFT_CT, module nft_ct): %w", err)
	}
	can.zones = tryIn(tracked, nil, zone(expr.CmpOpEq, 0)...) == nil
	noSettled = probeSettled()
	can.settled = noSettled == nil
	return can, noSettled, nil
}

// probeSettled tells which part of the settled set the kernel lacks.
func probeSettled() error {
	if err := try(everyNth(refreshOneIn)...); err != nil {
		return fmt.Errorf("%w: it needs nftables' numgen expression (CONFIG_NFT_NUMGEN, module nft_numgen; since 4.9): %w", ErrNoSettled, err)
	}
	probe := &table{}
	probe.settledSets(&Gate{Settled: true, SettledSize: 2, SettledTimeout: time.Second}, gateParts{settled: true})
	for i, f := range families {
		s := probe.sets[i]
		if err := tryIn(family, probe.sets[i:i+1], append(f.load(), update(s.Set, time.Second))...); err != nil {
			return fmt.Errorf("%w: it needs nftables' sets with timeouts that rules change (since 4.1; with concatenations): %w", ErrNoSettled, err)
		}
		if err := tryIn(family, probe.sets[i:i+1], append(f.load(), remove(s.Set))...); err != nil {
			return fmt.Errorf("%w: it needs rules that delete elements (since 5.4): %w", ErrNoSettled, err)
		}
	}
	return nil
}

// try puts a rule into a table that the same transaction deletes. What
// remains is the kernel's answer, ENOENT for an expression it has not, and the
// module it loaded.
func try(expressions ...expr.Any) error { return tryIn(family, nil, expressions...) }

// tryIn is try for a rule with sets, in a table of another family.
func tryIn(f nftables.TableFamily, sets []set, expressions ...expr.Any) error {
	t := &table{sets: sets, chains: []chain{{name: "probe"}}}
	t.chains[0].add("probe", expressions...)
	messages, err := messagesOf(func(conn *nftables.Conn) error {
		parent := conn.AddTable(&nftables.Table{Name: fmt.Sprintf("verdictd-probe-%d", unix.Gettid()), Family: f})
		conn.AddChain(&nftables.Chain{Name: "probe", Table: parent})
		if err := t.fill(conn, parent); err != nil {
			return err
		}
		conn.DelTable(parent)
		return nil
	})
	if err != nil {
		return err
	}
	return commit(messages)
}
