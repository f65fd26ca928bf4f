package child

import (
	"fmt"
	"testing"
)

func TestTail(t *testing.T) {
	var tail Tail
	if got := tail.Quote(3); got != "" {
		t.Errorf("quote %q of nothing", got)
	}
	for i := range 10_000 {
		fmt.Fprintf(&tail, "line %d\n", i)
	}
	if got := tail.Quote(3); got != ": line 9997 | line 9998 | line 9999" {
		t.Errorf("quote %q", got)
	}
	if len(tail.buf) > tailSize {
		t.Errorf("%d bytes are kept, want at most %d", len(tail.buf), tailSize)
	}
}

func TestTailOfACrash(t *testing.T) {
	var tail Tail
	fmt.Fprint(&tail, "started\npanic: out of cheese\n\ngoroutine 1 [running]:\nmain.main()\n\t/main.go:3 +0x18\n")
	if got := tail.Quote(3); got != ": panic: out of cheese" {
		t.Errorf("quote %q", got)
	}
}
