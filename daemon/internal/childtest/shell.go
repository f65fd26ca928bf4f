package childtest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"verdictd/internal/netlab"
)

// Shell runs a script in a namespace, as an operator would type it: nft, iptables, ip, tc. It fails the test if the
// script fails, and returns what it printed.
func Shell(t testing.TB, ns *netlab.NetNS, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.CommandContext(ctx, "sh", "-euc", script)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		cmd.WaitDelay = time.Second
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// NFT loads rules in the language of nft.
func NFT(t testing.TB, ns *netlab.NetNS, rules string) {
	t.Helper()
	Shell(t, ns, "nft -f - <<'END'\n"+rules+"\nEND")
}
