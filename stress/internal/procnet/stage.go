package procnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
)

// stage is what the workers look at: namespaces, and a thread and a process in each that stay.
type stage struct {
	spaces []*netlab.NetNS
	signs  []sign
	holder []*exec.Cmd
	views  []view
	leave  chan struct{} // closed to let the staying threads end
}

// newStage makes the namespaces. Hold is a command that waits until its standard input ends.
func newStage(namespaces int, hold []string) (s *stage, err error) {
	s = &stage{leave: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i := range namespaces {
		ns, err := netlab.NewNetNS()
		if err != nil {
			return s, err
		}
		s.spaces = append(s.spaces, ns)
		device := fmt.Sprintf("pn%da", i)
		peer := fmt.Sprintf("pn%db", i)
		if err := netlab.AddVeth(netlab.Endpoint{NetNS: ns, Link: device},
			netlab.Endpoint{NetNS: ns, Link: peer}); err != nil {
			return s, err
		}
		s.signs = append(s.signs, sign{device: device, packets: uint64(100*(i+1) + 7)})
	}
	s.signs = append(s.signs, sign{}) // where the run started
	for i := range s.signs {
		for j := range namespaces {
			if i != j {
				s.signs[i].foreign = append(s.signs[i].foreign, s.signs[j].device)
			}
		}
	}
	for i, ns := range s.spaces {
		if err := ns.Do(func() error { return sendToSelf(int(s.signs[i].packets)) }); err != nil {
			return s, fmt.Errorf("send inside a namespace: %w", err)
		}
		if err := s.addNames(ns, &s.signs[i], hold); err != nil {
			return s, err
		}
	}
	return s, s.addOwnNames()
}

// sendToSelf sends datagrams over loopback and receives each: only then the kernel counts it as delivered.
func sendToSelf(n int) error {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to be sent
	var b [8]byte
	for range n {
		if _, err := conn.WriteTo(b[:], conn.LocalAddr()); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		if _, _, err := conn.ReadFrom(b[:]); err != nil {
			return err
		}
	}
	return nil
}

// addNames puts a thread and a process into a namespace, and notes the names of its directory.
func (s *stage) addNames(ns *netlab.NetNS, of *sign, hold []string) error {
	thread := s.holdThread(ns)
	if thread == 0 {
		return errors.New("a thread cannot enter its namespace")
	}
	cmd := exec.Command(hold[0], hold[1:]...)
	if _, err := cmd.StdinPipe(); err != nil { // closed with this process, which ends the other one
		return err
	}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := ns.Do(cmd.Start); err != nil {
		return fmt.Errorf("start a process in a namespace: %w", err)
	}
	s.holder = append(s.holder, cmd)
	pid := strconv.Itoa(cmd.Process.Pid)
	tid := strconv.Itoa(thread)
	s.views = append(s.views, []view{
		{"/proc/PID/net", "/proc/" + pid + "/net", of},
		{"/proc/PID/task/PID/net", "/proc/" + pid + "/task/" + pid + "/net", of},
		{"/proc/TID/net", "/proc/" + tid + "/net", of},
		{"/proc/self/task/TID/net", "/proc/self/task/" + tid + "/net", of},
	}...)
	return nil
}

// holdThread returns the id of a thread that stays in a namespace, 0 if it cannot get there.
func (s *stage) holdThread(ns *netlab.NetNS) int {
	id := make(chan int)
	go onThread(func() {
		if _, err := ns.Enter(); err != nil {
			id <- 0
			return
		}
		id <- unix.Gettid()
		<-s.leave
	})
	return <-id
}

// onThread runs f on a thread that ends with it, and that is not the process's first: that one's namespace is what
// /proc/self/net shows.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			onThread(f)
		}()
		<-done // the first thread is taken, so the other goroutine is on another one
		runtime.UnlockOSThread()
		return
	}
	f()
}

// addOwnNames notes the names that show the namespace of the process's first thread.
func (s *stage) addOwnNames() error {
	var first unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &first); err != nil {
		return fmt.Errorf("find the first thread's namespace: %w", err)
	}
	of := &s.signs[len(s.spaces)]
	for i, ns := range s.spaces {
		var its unix.Stat_t
		if err := unix.Fstat(int(ns.File().Fd()), &its); err != nil {
			return fmt.Errorf("tell namespaces apart: %w", err)
		}
		if its.Ino == first.Ino && its.Dev == first.Dev { // a thread that made one was the first
			of = &s.signs[i]
		}
	}
	for _, path := range []string{"/proc/net", "/proc/self/net", fmt.Sprintf("/proc/%d/net", unix.Getpid())} {
		s.views = append(s.views, view{"/proc/net and /proc/self/net", path, of})
	}
	return nil
}

func (s *stage) close() error {
	close(s.leave)
	var errs []error
	for _, cmd := range s.holder {
		errs = append(errs, cmd.Process.Kill())
		_, err := cmd.Process.Wait()
		errs = append(errs, err)
	}
	for _, ns := range s.spaces {
		errs = append(errs, ns.Close())
	}
	return errors.Join(errs...)
}

// Hold is the process that stays in a namespace: it ends with its standard input.
func Hold(stdin io.Reader) error {
	_, err := io.Copy(io.Discard, stdin)
	return err
}
