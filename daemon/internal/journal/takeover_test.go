package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// TestConfigurationChanges: queues come and go over restarts, and what a queue was bound
// with becomes what is configured.
func TestConfigurationChanges(t *testing.T) {
	for _, mode := range []string{"off", "hold"} {
		t.Run(mode, func(t *testing.T) {
			ns := testkit.Namespace(t)
			k := newKeeper(t, ns, settings(mode, 2, ""))
			l := begin(t, ns, rate(t), false)
			l.clashing = true
			if mode == "hold" {
				l.moves = 4 // a flow may overtake itself as it is listed
			}
			for _, next := range []string{
				settings(mode, 4, ""), settings(mode, 1, ""),
				strings.Replace(settings(mode, 2, ""), "first: 0", "first: 7, batch: 16, copy_range: 200", 1),
				settings(mode, 1, ""),
			} {
				time.Sleep(100 * time.Millisecond)
				k.configure(next)
				l.move(func() {
					k.end(syscall.SIGKILL)
					k.start()
				})
				if names, _ := k.store.Names(); mode == "off" && len(names) != 2*len(k.queues())+1 {
					t.Errorf("kept: %v, of queues %v", names, k.queues())
				}
			}
			if wrong := l.finish(); wrong != "" {
				t.Error(wrong)
			}
			k.end(syscall.SIGTERM)
			k.clean()
		})
	}
}

// TestDeadlyPacket: the daemon is killed while it judges a packet, and so is the next one
// while it judges that packet. The third drops it, and keeps it.
func TestDeadlyPacket(t *testing.T) {
	ns := testkit.Namespace(t)
	state := t.TempDir()
	k := newKeeper(t, ns, settings("off", 1, "analysis: {distribution: fixed, delay: 60s}"), "STATE_DIRECTORY="+state)
	in := listen(t, ns, port)
	out := dial(t, ns, port)
	for _, payload := range []string{"deadly", "harmless"} {
		if _, err := out.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	k.awaitJudging()
	k.end(syscall.SIGKILL)
	k.start()
	k.awaitJudging()
	k.end(syscall.SIGKILL)
	k.configure(settings("off", 1, ""))
	k.start()
	b := make([]byte, 100)
	if err := in.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := in.Read(b)
	if err != nil || string(b[:n]) != "harmless" {
		t.Errorf("received %q, %v; want the packet behind the deadly one", b[:n], err)
	}
	files, err := filepath.Glob(filepath.Join(state, "*.pcap"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v; want one", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if packet, _, err := r.ReadPacketData(); err != nil || !strings.HasSuffix(string(packet), "deadly") {
		t.Errorf("the file has %q, %v", packet, err)
	}
	k.end(syscall.SIGTERM)
	k.clean()
}

// TestOfNoUse: what was kept and is none of the daemon's is closed, and what cannot be
// read is begun again; the daemon says so.
func TestOfNoUse(t *testing.T) {
	ns := testkit.Namespace(t)
	k := newKeeper(t, ns, settings("hold", 1, ""))
	in := listen(t, ns, port)
	k.end(syscall.SIGKILL)
	// Journals of another version, as a daemon after this one may leave them.
	k.spoil("journal-0", 8)
	k.spoil("gate-held-61440", 4)
	k.keep("elsewhere-5")
	k.start()
	for _, words := range []string{"of another version", "elsewhere-5"} {
		if !strings.Contains(k.child.Log(), words) {
			t.Errorf("the log does not say %q", words)
		}
	}
	out := dial(t, ns, port)
	if _, err := out.Write([]byte("hey")); err != nil {
		t.Fatal(err)
	}
	if err := in.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if names, _ := k.store.Names(); len(names) != 6 {
		t.Errorf("kept %v; want what queue 0 and the gate have, and the count of restarts", names)
	}
	k.end(syscall.SIGTERM)
	k.clean()
}

// TestTableStays: a restart changes nothing of rules that are as they should be.
func TestTableStays(t *testing.T) {
	ns := testkit.Namespace(t)
	k := newKeeper(t, ns, settings("hold", 1, ""))
	show := func() (text string) {
		if err := ns.Do(func() (err error) { text, err = ruleset.Show(config.Default().Rules.Table); return err }); err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := show()
	for _, s := range []syscall.Signal{unix.SIGKILL, unix.SIGUSR2} {
		k.end(s)
		if now := show(); now != before {
			t.Errorf("rules after %v:\n%s\nwant\n%s", s, now, before)
		}
		k.start()
		if now := show(); now != before {
			t.Errorf("rules after the start:\n%s\nwant\n%s", now, before)
		}
	}
	k.end(syscall.SIGTERM)
	k.clean()
}
