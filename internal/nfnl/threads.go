package nfnl

import (
	"os"
	"runtime"
	"sync"
)

var processors sync.Mutex

// AddThreads tells Go's runtime that n threads begin that wait in system calls most
// of the time, and returns what tells it that they have ended.
//
// Go lets GOMAXPROCS threads run Go code at once. Where there are fewer than threads,
// its monitor takes that right away from each one that waits for 20 us, wakes up as
// often to do so, and the thread gets it back through other threads: together that
// cost as much as the packets did (runtime.retake, runtime.exitsyscall). An operator
// who sets GOMAXPROCS in the environment is obeyed.
func AddThreads(n int) (ended func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	add := func(n int) {
		processors.Lock()
		defer processors.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	add(n)
	return func() { add(-n) }
}
