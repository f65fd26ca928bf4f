package vm

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

func TestFramesComeBack(t *testing.T) {
	var pipe bytes.Buffer
	w := &frameWriter{w: &pipe}
	large := make([]byte, 3*frameLimit+5)
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	for _, f := range []struct {
		kind kind
		body []byte
	}{{kindReady, nil}, {kindStart, nil}, {kindStdout, large}, {kindStderr, []byte("\r\n\x00")},
		{kindName, []byte("a/b")},
		{kindData, large[:7]}, {kindData, large[7:frameLimit]}, {kindName, []byte("empty")},
		{kindExit, []byte{0xff, 0xff, 0xff, 0xfe}}, {kindEnd, nil}} {
		if err := w.write(f.kind, f.body); err != nil {
			t.Fatal(err)
		}
	}
	pipe.WriteString("what the port holds after the end")
	var live bytes.Buffer
	g := receiver{stdout: &live, outputs: map[string][]byte{}}
	if err := g.receive(&pipe, time.Now()); err != nil {
		t.Fatal(err)
	}
	switch {
	case !g.up.Load() || !g.exited || g.result.ExitStatus != -2:
		t.Errorf("ready %v, exited %v with %d, want true, true, -2", g.up.Load(), g.exited, g.result.ExitStatus)
	case !bytes.Equal(g.result.Stdout, large) || !bytes.Equal(live.Bytes(), large):
		t.Errorf("of %d bytes of output %d are kept and %d were passed on, or others", len(large), len(g.result.Stdout),
			live.Len())
	case string(g.result.Stderr) != "\r\n\x00":
		t.Errorf("stderr %q", g.result.Stderr)
	case !bytes.Equal(g.outputs["a/b"], large[:frameLimit]):
		t.Errorf("the file has %d bytes of %d, or others", len(g.outputs["a/b"]), frameLimit)
	case g.outputs["empty"] == nil:
		t.Error("the empty file is missing")
	case pipe.Len() != 0:
		t.Errorf("%d bytes are still in the pipe: QEMU would wait", pipe.Len())
	}
}

// A guest may die at any byte.
func TestFramesCutAnywhere(t *testing.T) {
	var pipe bytes.Buffer
	w := &frameWriter{w: &pipe}
	for _, k := range []kind{kindReady, kindStdout, kindExit} {
		if err := w.write(k, []byte("four")); err != nil {
			t.Fatal(err)
		}
	}
	whole := pipe.Bytes()
	frame := len(whole) / 3
	for n := range whole {
		g := receiver{outputs: map[string][]byte{}}
		if err := g.receive(bytes.NewReader(whole[:n]), time.Now()); !errors.Is(err, errFrame) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		if got, want := len(g.result.Stdout), 4*min(1, n/(2*frame)); got != want {
			t.Fatalf("cut after %d bytes: %d bytes of output, want %d", n, got, want)
		}
		if g.exited {
			t.Fatalf("cut after %d bytes: exited", n)
		}
	}
	for n := range whole {
		broken := bytes.Clone(whole)
		broken[n] ^= 0x40
		g := receiver{outputs: map[string][]byte{}}
		if err := g.receive(bytes.NewReader(broken), time.Now()); !errors.Is(err, errFrame) {
			t.Fatalf("byte %d broken: %v", n, err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	var pipe bytes.Buffer
	if err := (&frameWriter{w: &pipe}).write(kindStdout, []byte("text")); err != nil {
		f.Fatal(err)
	}
	f.Add(pipe.Bytes())
	f.Add([]byte{frameMark, 'o', 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, body, err := readFrame(bytes.NewReader(b))
		if err != nil && !errors.Is(err, errFrame) && !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		if len(body) > len(b) {
			t.Errorf("%d bytes out of %d", len(body), len(b))
		}
	})
}
