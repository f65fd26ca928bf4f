package attacks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// TestOwnerDenied: a rule in OUTPUT drops what one user sends.
func TestOwnerDenied(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			// In a user namespace there is no second user: then the rule is for the only one, and one port.
			uid := someUser()
			childtest.Shell(r, h.Queue, fmt.Sprintf("iptables -A OUTPUT -m owner --uid-owner %d -p udp --dport 5300 -j DROP", uid))
			r.daemon(h.Queue, analysis+"rules: {placement: output, "+bothPorts+"}")
			in := listen(r, h.Receiver, h.target(port), h.target(other))
			asUser(r, uid, func() {
				burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
			})
			burst{to: h.target(other), flows: 50, packets: 4}.send(r, h.Sender)
			return r.end(in, 200)
		},
		more: dropsPort,
	})
}

// someUser is nobody where this process may become it, and otherwise this one.
func someUser() int {
	if m, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		if fields := bytes.Fields(m); len(fields) == 3 && string(fields[2]) == "1" {
			return 0
		}
	}
	return 65534
}

// asUser runs f on a thread whose sockets belong to a user.
func asUser(t testing.TB, uid int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Sockets belong to who opens files; the thread keeps its capabilities and its real user. The call tells who that
	// was, and never an error.
	become := func(uid int) { _, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0) }
	become(uid)
	defer become(os.Geteuid())
	f()
}

// TestControlGroupDenied: a program denies a control group all that it sends, as systemd's IPAddressDeny=any does.
func TestControlGroupDenied(t *testing.T) {
	group := denied(t)
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			r.daemon(h.Queue, analysis+"rules: {placement: output, "+bothPorts+"}")
			in := listen(r, h.Receiver, h.target(port), h.target(other))
			sendWithin(r, h.Sender, group, fmt.Sprintf("/dev/udp/%v/%d", h.Target, port))
			burst{to: h.target(other), flows: 50, packets: 4}.send(r, h.Sender)
			return r.end(in, 200)
		},
		more: dropsPort,
	})
}

// sendWithin sends 20 flows of 4 packets from a process in a control group.
func sendWithin(t testing.TB, ns *netlab.NetNS, group *os.File, to string) {
	t.Helper()
	const script = `
		for flow in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			exec 3>"$0"
			for packet in 0 1 2 3; do printf "atck....000$packet............" >&3 || true; done
		done
		sleep 0.2`
	err := ns.Do(func() error {
		cmd := exec.Command("bash", "-euc", script, to)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// denied makes a control group whose processes may send nothing.
func denied(t *testing.T) *os.File {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSKB, AttachType: ebpf.AttachCGroupInetEgress, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("an ordinary user may not attach a program to a control group")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	dir := filepath.Join(unifiedGroups(t), fmt.Sprintf("attacks-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	attached, err := link.AttachCgroup(link.CgroupOptions{Path: dir, Attach: ebpf.AttachCGroupInetEgress, Program: program})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = attached.Close() })
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	return group
}

// unifiedGroups is where the control groups of version 2 are.
func unifiedGroups(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1]
		}
	}
	t.Skip("no control groups of version 2 are mounted")
	return ""
}
