package service

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// log is what a daemon says, for the test to look at.
type log struct {
	to    io.Writer
	mutex sync.Mutex
	text  bytes.Buffer
}

// Write implements io.Writer.
func (l *log) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.text.Write(b)
	return l.to.Write(b)
}

func (l *log) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// await returns when all the words are in one line, and fails if they do not come.
// Rules of legacy tables are looked at every two seconds.
func (l *log) await(t *testing.T, words ...string) {
	t.Helper()
	const patience = 20 * time.Second
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if l.has(words...) {
			return
		}
	}
	t.Fatalf("no line has %q", words)
}

func (l *log) has(words ...string) bool {
	for line := range strings.Lines(l.String()) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return true
		}
	}
	return false
}

// forget has await look at new lines only.
func (l *log) forget() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.text.Reset()
}
