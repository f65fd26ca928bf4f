package nfnl

import (
	"errors"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestAlarm(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	if err := a.Sleep(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	go a.Ring()
	if err := a.Sleep(Forever); err != nil {
		t.Fatal(err)
	}
	a.Ring() // once more: it rings already
	begun := time.Now()
	if err := a.Sleep(time.Minute); err != nil {
		t.Fatal(err)
	}
	if slept := time.Since(begun); slept > 30*time.Second {
		t.Errorf("slept %v although the alarm rang", slept)
	}
}

// TestAlarmReset: a ring counts once, whenever it came.
func TestAlarmReset(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	slept := func(d time.Duration) time.Duration {
		t.Helper()
		begun := time.Now()
		if err := a.Sleep(d); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	a.Reset() // of an alarm that is silent
	for range 3 {
		a.Ring()
		a.Ring()
		if d := slept(time.Minute); d > 30*time.Second {
			t.Errorf("slept %v although the alarm rang", d)
		}
		a.Reset()
		if d := slept(5 * time.Millisecond); d < 5*time.Millisecond {
			t.Errorf("slept %v, as if the alarm still rang", d)
		}
	}
}

// A message of which the buffer cut off the end is no message to Next, but its head is.
func TestHead(t *testing.T) {
	var e Encoder
	e.Begin(Type(1, 0), 2, 0)
	e.Raw(1, []byte("first"))
	e.Raw(2, make([]byte, 100))
	e.End()
	cut := e.Bytes()[:60]
	if _, _, ok := Next(cut); ok {
		t.Error("Next took what is not whole")
	}
	m, ok := Head(cut)
	if !ok || m.Type != Type(1, 0) || len(m.Body) != 60-16 {
		t.Fatalf("head %+v, %v", m, ok)
	}
	attrs := m.Attributes()
	if typ, data, ok := attrs.Next(); !ok || typ != 1 || string(data) != "first" {
		t.Errorf("first attribute %d %q, %v", typ, data, ok)
	}
	if _, _, ok := attrs.Next(); ok {
		t.Error("found an attribute that was cut")
	}
	for _, b := range [][]byte{nil, cut[:15], {4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if m, ok := Head(b); ok {
			t.Errorf("%x has the head %+v", b, m)
		}
	}
}

func TestBeginDump(t *testing.T) {
	var e Encoder
	e.BeginDump(Type(1, 1), 10)
	e.End()
	var m netlink.Message
	if err := m.UnmarshalBinary(e.Bytes()); err != nil {
		t.Fatal(err)
	}
	if m.Header.Flags != netlink.Request|netlink.Dump || m.Data[0] != 10 {
		t.Errorf("%+v, want a dump of family 10", m)
	}
}

// TestLateRing: who rings when the alarm is closed writes into no file that has its number by then.
func TestLateRing(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(unix.Close(pipe[0]), unix.Close(pipe[1])) }()
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	number := a.fd
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := unix.FcntlInt(uintptr(pipe[1]), unix.F_DUPFD_CLOEXEC, number)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(next) }()
	if next != number {
		t.Fatalf("%d is taken, and the pipe has %d", number, next)
	}
	a.Ring()
	var b [16]byte
	if n, err := unix.Read(pipe[0], b[:]); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%d bytes in another file: %v", n, err)
	}
}
