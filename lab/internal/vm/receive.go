package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Bounds on what is kept of a guest's output.
const (
	maxStream  = 64 << 20
	maxOutputs = 256 << 20
)

// A receiver takes a guest's report in. Its fields but up are valid when receive has returned.
type receiver struct {
	stdout, stderr io.Writer

	up      atomic.Bool // the guest's init runs
	exited  bool
	failed  string // why the guest could not do its work
	result  Result
	outputs map[string][]byte

	name string // of the file that comes
	size int    // of all files
}

// receive reads frames until the guest says that none follows, and then empties the pipe, so that QEMU can never wait
// for this process.
func (g *receiver) receive(r io.Reader, begun time.Time) error {
	defer io.Copy(io.Discard, r) //nolint:errcheck // only to empty it
	for {
		k, b, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			return errFrame
		}
		if err != nil {
			return err
		}
		switch k {
		case kindReady:
			g.result.BootSeconds = time.Since(begun).Seconds()
			g.up.Store(true)
		case kindStart:
		case kindStdout:
			take(&g.result.Stdout, &g.stdout, b)
		case kindStderr:
			take(&g.result.Stderr, &g.stderr, b)
		case kindName:
			g.name = string(b)
			g.outputs[g.name] = []byte{}
		case kindData:
			if g.size += len(b); g.size > maxOutputs {
				return fmt.Errorf("the guest left more than %d MiB in /out", maxOutputs>>20)
			}
			g.outputs[g.name] = append(g.outputs[g.name], b...)
		case kindExit:
			if len(b) != 4 {
				return errFrame
			}
			g.result.ExitStatus = int(int32(binary.BigEndian.Uint32(b)))
			g.exited = true
		case kindError:
			g.failed = string(b)
		case kindEnd:
			return nil
		default:
			return fmt.Errorf("%w: frame of the unknown kind %q: is the guest's init of another build?", errFrame, k)
		}
	}
}

// take keeps output and passes it on, for as long as somebody looks.
func take(kept *[]byte, next *io.Writer, b []byte) {
	*kept = append(*kept, b[:min(len(b), maxStream-len(*kept))]...)
	if *next == nil {
		return
	}
	if _, err := (*next).Write(b); err != nil {
		*next = nil
	}
}
