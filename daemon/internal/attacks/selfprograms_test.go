package attacks

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// toolModule has what the selftests build of other people's programs; see its go.mod.
const toolModule = "../../../tools/selftests"

// built compiles a package, of this module or of toolModule.
func built(t testing.TB, module, pkg string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", file, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return file
}

// wireGuard is one end of a tunnel by wireguard-go.
type wireGuard struct {
	ns       *netlab.NetNS
	link     string
	inside   string // address with prefix
	endpoint netip.AddrPort
	key      *ecdh.PrivateKey
}

// start begins the end's program, and configures it by its socket.
func (w *wireGuard) start(t testing.TB, program string, peer *wireGuard) {
	t.Helper()
	cmd := exec.Command(program, "-f", w.link)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=error")
	childtest.Start(t, w.ns, cmd)
	control := "/var/run/wireguard/" + w.link + ".sock"
	t.Cleanup(func() { _ = os.Remove(control) })
	var conn net.Conn
	for deadline := time.Now().Add(childtest.ReadyWithin); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if conn, err = net.Dial("unix", control); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer func() { _ = conn.Close() }()
	_, err := fmt.Fprintf(conn, "set=1\nprivate_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%v\nallowed_ip=0.0.0.0/0\n\n",
		hex.EncodeToString(w.key.Bytes()), w.endpoint.Port(), hex.EncodeToString(peer.key.PublicKey().Bytes()), peer.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 100)
	if n, err := conn.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "errno=0") {
		t.Fatalf("wireguard-go answers %q, %v", answer[:n], err)
	}
	childtest.Shell(t, w.ns, fmt.Sprintf("ip addr add %s dev %s; ip link set %s up", w.inside, w.link, w.link))
}

// TestSelfWireGuard: both ends have something to send at once, and the same port.
func TestSelfWireGuard(t *testing.T) {
	r := selfTest(t, "iperf3", "ping")
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		if optional("tun") {
			t.Skip("no /dev/net/tun")
		}
		t.Fatalf("no TUN device (%v): load the module tun, or name tun in %s", err, optionalVariable)
	}
	program := built(t, toolModule, "golang.zx2c4.com/wireguard")
	r.each([]string{"output", "verdict3"}, func(r *run, placement string) {
		near, far, nearAddress, farAddress := r.place(placement, "destination_ports: [5300]", room)
		ends := []*wireGuard{
			{ns: near, link: "wgnear", inside: "203.0.113.1/24", endpoint: netip.AddrPortFrom(nearAddress, port)},
			{ns: far, link: "wgfar", inside: "203.0.113.2/24", endpoint: netip.AddrPortFrom(farAddress, port)},
		}
		for _, end := range ends {
			key, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				r.Fatal(err)
			}
			end.key = key
		}
		ends[0].start(r, program, ends[1])
		ends[1].start(r, program, ends[0])
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = far.Do(func() error { return exec.Command("ping", "-q", "-c", "1", "-w", "30", "203.0.113.1").Run() })
		}()
		// Handshakes that cross may undo each other, with a guard or without; the next one is 5 s later.
		output(r, near, 40*time.Second, "ping", "-q", "-c", "1", "-w", "30", "203.0.113.2")
		<-done
		if sent, answered, _ := ping(r, near, "-q -f -c 1000 -w 5 203.0.113.2"); sent != answered {
			r.Errorf("through the tunnel %d of %d were answered", answered, sent)
		}
		childtest.Start(r, far, exec.Command("iperf3", "-s", "-p", "5201", "-B", "203.0.113.2"))
		time.Sleep(200 * time.Millisecond)
		for _, direction := range []string{"", "-R"} {
			var got iperfResult
			text := output(r, near, 15*time.Second, strings.Fields("iperf3 -J -t 1 -p 5201 -c 203.0.113.2 "+direction)...)
			if err := json.Unmarshal([]byte(text), &got); err != nil || got.End.Received.Bytes < 1<<20 {
				r.Errorf("%v: %+v\n%s", err, got, text)
			}
			r.Logf("%.0f Mbit/s %s", got.End.Received.Bits/1e6, direction)
			time.Sleep(300 * time.Millisecond) // the server takes one client at a time
		}
		r.finish()
	})
}

// TestSelfQUIC: quic-go, which sends long packets to be segmented, 50 MB each way.
func TestSelfQUIC(t *testing.T) {
	r := selfTest(t)
	program := built(t, toolModule, "./quic")
	r.each(selfPlaces, func(r *run, placement string) {
		sender, receiver, _, target := r.place(placement, "destination_ports: [5300], source_ports: [5300]", "queues: {max_length: 65535, receive_buffer: 67108864, gso: true}")
		at := netip.AddrPortFrom(target, port).String()
		server := exec.Command(program, "-serve", at)
		childtest.Start(r, receiver, server)
		time.Sleep(300 * time.Millisecond)
		r.Log(output(r, sender, time.Minute, program, "-connect", at))
		r.finish()
	})
}

// lookUpsVariable makes the test binary look names up by Go's resolver.
const lookUpsVariable = "VERDICTD_TEST_LOOKUPS"

func init() {
	count := os.Getenv(lookUpsVariable)
	if count == "" {
		return
	}
	var n, failed int
	_, _ = fmt.Sscan(count, &n)
	for i := range n {
		if addresses, err := net.LookupHost(fmt.Sprintf("go%d.example", i)); err != nil || len(addresses) != 2 {
			failed++
		}
	}
	fmt.Println(failed, "failed")
	os.Exit(0)
}

var failures = regexp.MustCompile(`(\d+) failed`)

// TestSelfLookUps: both addresses of names, by glibc and by Go, as fast as they go: a lost answer costs seconds.
func TestSelfLookUps(t *testing.T) {
	const names = 300
	selfTest(t, "knotd", "getent", "unshare").each(selfPlaces, func(r *run, placement string) {
		sender, receiver, _, target := r.place(placement, "destination_ports: [53], source_ports: [53]", analysis)
		startKnot(r, receiver, netip.AddrPortFrom(target, 53))
		resolver := filepath.Join(r.TempDir(), "resolv.conf")
		if err := os.WriteFile(resolver, []byte("nameserver "+target.String()+"\n"), 0o644); err != nil {
			r.Fatal(err)
		}
		executable, err := os.Executable()
		if err != nil {
			r.Fatal(err)
		}
		for who, command := range map[string]string{
			"glibc": fmt.Sprintf("f=0; for i in $(seq %d); do getent ahosts n$i.example >/dev/null || f=$((f+1)); done; echo $f failed", names),
			"Go":    fmt.Sprintf("GODEBUG=netdns=go %s=%d exec %s", lookUpsVariable, names, executable),
		} {
			began := time.Now()
			text := output(r, sender, time.Minute, "unshare", "-m", "sh", "-c", "mount --bind "+resolver+" /etc/resolv.conf; "+command)
			took := time.Since(began)
			r.Logf("%s: %d look-ups in %v, %s", who, names, took, text)
			if number(r, failures, text) != 0 || took > 20*time.Second && r.mode == "hold" {
				r.Errorf("%s: %d look-ups took %v, %s", who, names, took, text)
			}
		}
		r.finish()
	})
}

// TestSelfConntrack: conntrack's own program and conntrackwatch see the same.
func TestSelfConntrack(t *testing.T) {
	r := selfTest(t, "conntrack")
	program := built(t, "../../..", "./conntrackwatch")
	h := routed(r, "ipv4")
	r.daemon(h.Queue, analysis+"rules: {placement: forward, destination_ports: [5300]}")
	lines := func(name string, args ...string) (end func() []string) {
		file, err := os.Create(filepath.Join(r.TempDir(), name))
		if err != nil {
			r.Fatal(err)
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout = file
		c := childtest.Start(r, h.Queue, cmd)
		return func() []string {
			c.Signal(syscall.SIGINT)
			<-c.Done
			b, err := os.ReadFile(file.Name())
			if err != nil {
				r.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(b)) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
					got = append(got, line)
				}
			}
			slices.Sort(got)
			return got
		}
	}
	theirs := lines("theirs", "conntrack", "-E", "-p", "udp")
	ours := lines("ours", program, "events", "--format", "table", "--protocol", "udp")
	time.Sleep(500 * time.Millisecond)
	in := listenAnswering(r, h.Receiver, h.target(port))
	burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
	in.await(400, time.Second)
	time.Sleep(300 * time.Millisecond)
	if a, b := theirs(), ours(); len(a) == 0 || !slices.Equal(a, b) {
		r.Errorf("conntrack -E has %d lines, conntrackwatch %d:\n%.300s\n%.300s", len(a), len(b), strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	r.compareCounters(program, h.Queue)
	r.finish()
}

// compareCounters holds conntrack -S and -C against conntrackwatch stats.
func (r *run) compareCounters(program string, ns *netlab.NetNS) {
	r.Helper()
	sums := map[string]int{}
	for _, m := range regexp.MustCompile(`(\w+)=(\d+)`).FindAllStringSubmatch(childtest.Shell(r, ns, "conntrack -S"), -1) {
		var n int
		_, _ = fmt.Sscan(m[2], &n)
		sums[m[1]] += n
	}
	var ours struct {
		Absolute map[string]any `json:"absolute"`
		Table    struct {
			Entries int `json:"entries"`
		} `json:"table"`
	}
	if err := json.Unmarshal([]byte(childtest.Shell(r, ns, program+" stats --once --json")), &ours); err != nil {
		r.Fatal(err)
	}
	compared := 0
	for name, n := range sums {
		if f, ok := ours.Absolute[name].(float64); ok {
			compared++
			if int(f) != n {
				r.Errorf("%s is %d to conntrack, and %v to conntrackwatch", name, n, f)
			}
		}
	}
	var entries int
	if _, err := fmt.Sscan(childtest.Shell(r, ns, "conntrack -C"), &entries); err != nil || entries != ours.Table.Entries || compared < 5 {
		r.Errorf("%v; %d entries to conntrack, %d to conntrackwatch; %d counters compared of %v and %v", err, entries, ours.Table.Entries, compared, sums, ours.Absolute)
	}
}

// TestSelfRestarts: 10 restarts by SIGTERM at 5,000 packets a second, of new and of old flows. Nothing is lost.
func TestSelfRestarts(t *testing.T) {
	selfTest(t).each([]string{"output", "postrouting", "forward", "input"}, func(r *run, placement string) {
		sender, receiver, _, target := r.place(placement, "destination_ports: [5300]", room)
		to := netip.AddrPortFrom(target, port)
		in := listenLarge(r, receiver, to)
		config := r.child.Cmd.Args[len(r.child.Cmd.Args)-1]
		stop, sent := make(chan struct{}), make(chan int)
		go func() {
			n, buf := 0, make([]byte, headerBytes)
			old := dial(r, sender, netip.AddrPort{}, to, nil)
			defer func() { _ = old.Close() }()
			flow, number := flowNumber.Add(1), uint32(0)
			for next := time.Now(); ; next = next.Add(time.Millisecond) {
				select {
				case <-stop:
					sent <- n
					return
				default:
				}
				for range 2 { // of the old flow
					packet(buf, flow, number)
					number++
					_, _ = old.Write(buf)
				}
				burst{packets: 3}.sendFlow(r, func() *net.UDPConn { // of a new one
					c := dial(r, sender, netip.AddrPort{}, to, nil)
					time.AfterFunc(time.Second, func() { _ = c.Close() })
					return c
				}())
				n += 5
				time.Sleep(time.Until(next))
			}
		}()
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			file := r.child.File
			r.child.Stop()
			r.child = childtest.Service(r, r.ns, "run", "--config", config)
			r.child.File = file
		}
		time.Sleep(100 * time.Millisecond)
		close(stop)
		n := <-sent
		in.await(n, time.Second)
		arrived, duplicated, reordered := count(in.arrivals())
		r.Logf("%d sent, %d arrived, %d twice, %d out of order, %d clashes", n, arrived, duplicated, reordered, clashes(r, r.ns)-r.clashes)
		if arrived != n || duplicated != 0 {
			r.Errorf("%d of %d arrived, %d twice", arrived, n, duplicated)
		}
		r.child.Stop()
	})
}

// TestSelfKernel runs the kernel's own tests, from a source that the user names: they are not ours to ship.
func TestSelfKernel(t *testing.T) {
	const variable = "KERNEL_SOURCE"
	r := selfTest(t, "cc", "socat")
	source := os.Getenv(variable)
	if source == "" {
		if optional(variable) {
			t.Skipf("%s is not set", variable)
		}
		t.Fatalf("%s is not set: name the folder of a kernel's source, 6.16 or later, or name %s in %s", variable, variable, optionalVariable)
	}
	folder := filepath.Join(source, "tools/testing/selftests/net/netfilter")
	r.sub("udpclash", func(r *run) {
		program := filepath.Join(r.TempDir(), "udpclash")
		if out, err := exec.Command("cc", "-O2", "-pthread", "-o", program, filepath.Join(folder, "udpclash.c")).CombinedOutput(); err != nil {
			r.Fatalf("%v: %s", err, out)
		}
		for _, placement := range selfPlaces {
			for _, nat := range []bool{false, true} {
				r.sub(fmt.Sprintf("%s, nat %v", placement, nat), func(r *run) { r.udpClash(program, placement, nat) })
			}
		}
	})
	r.sub("nft_queue.sh", func(r *run) {
		cmd := exec.Command("bash", "nft_queue.sh")
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		const skipped = 4 // as the kernel's tests have it
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == skipped {
			r.Skipf("the kernel's test skips itself: %s", out)
		}
		if err != nil {
			r.Errorf("%v\n%s", err, out)
		}
	})
}

// udpClash sends 128 packets of a flow from as many threads, and wants as many answers.
func (r *run) udpClash(program, placement string, nat bool) {
	r.Helper()
	sender, receiver, _, target := r.place(placement, "destination_ports: [5300], source_ports: [5300]", analysis)
	at := netip.AddrPortFrom(target, port)
	n := countDatagrams(r, receiver, at, 0, true)
	to := at
	if nat {
		if placement == "input" {
			r.Skip("the virtual address is the router's or the sender's to translate")
		}
		to = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.99"), port)
		if err := r.ns.RedirectTo(to.Addr(), target); err != nil {
			r.Fatal(err)
		}
		if placement != "forward" {
			childtest.Shell(r, sender, "ip neigh replace 192.0.2.99 lladdr 02:00:00:00:00:99 dev near0")
		}
	}
	for range 5 {
		text := output(r, sender, 20*time.Second, program, to.Addr().String(), fmt.Sprint(port))
		if !strings.Contains(text, "got 128 of 128 replies") || strings.Contains(text, "wrong source") {
			r.Errorf("udpclash: %s", text)
		}
	}
	if n.Load() != 5*128 {
		r.Errorf("%d of %d packets arrived", n.Load(), 5*128)
	}
	r.finish()
}
