package ruleset

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
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

// probeTables tells whether there are nftables at all, and whether they may be
// used. It has to come first: to a transaction a kernel without them answers
// once instead of once for each message, and the library would wait for ever.
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
	if c.Placement == PlacementNotrack {
		if err := try(&expr.Notrack{}); err != nil {
			return fmt.Errorf("placement %s needs nftables' notrack statement (CONFIG_NFT_CT, module nft_ct): %w", c.Placement, err)
		}
	}
	if c.Entries != nil {
		if err := ProbeEntries(); err != nil {
			return err
		}
	}
	if !c.chainPerQueue() {
		return nil
	}
	switch c.Fanout {
	case FanoutPorts:
		if err := try(append(loadFlow(addressesIPv4), hashFlow(addressesIPv4, c.Queues, 0))...); err != nil {
			return fmt.Errorf("fan-out %s needs nftables' hash expression (CONFIG_NFT_HASH, module nft_hash; since 4.9): %w", c.Fanout, err)
		}
	case FanoutNumgen:
		if err := try(turn(c.Queues)); err != nil {
			return fmt.Errorf("fan-out %s needs nftables' numgen expression (CONFIG_NFT_NUMGEN, module nft_numgen; since 4.9): %w", c.Fanout, err)
		}
	}
	return nil
}

// ProbeEntries tells whether rules can see how it stands with a packet's entry.
// For the moment of the attempt, connection tracking is active.
func ProbeEntries() error {
	if err := try(entryStatus(expr.CmpOpNeq, statusConfirmed)...); err != nil {
		return fmt.Errorf("to tell packets apart by their conntrack entries needs nftables' ct expression (CONFIG_NFT_CT, module nft_ct): %w", err)
	}
	return nil
}

// try puts a rule into a table that the same transaction deletes. What
// remains is the kernel's answer, ENOENT for an expression it has not, and the
// module it loaded.
func try(expressions ...expr.Any) error {
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Name: fmt.Sprintf("verdictd-probe-%d", unix.Gettid()), Family: family})
	chain := conn.AddChain(&nftables.Chain{Name: "probe", Table: table})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: expressions})
	conn.DelTable(table)
	return conn.Flush()
}
