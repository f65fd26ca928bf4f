package engine

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutine is the number of the calling one, as stacks have it.
func goroutine() uint64 {
	var b [64]byte
	text, _ := bytes.CutPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64)
	return n
}
