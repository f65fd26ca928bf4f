package ct

import (
	"errors"
	"testing"

	"verdictd/internal/nfnl"
)

// Squeeze makes the receive buffer too small for the answers.
func (l *Lookup) Squeeze(t *testing.T) (restore func()) {
	t.Helper()
	old, once := l.socket, l.once
	socket, err := nfnl.Dial(nfnl.Config{ReceiveBuffer: 4096})
	if err != nil {
		t.Fatal(err)
	}
	l.socket, l.once = socket, MaxQuestions
	return func() {
		t.Helper()
		l.socket, l.once = old, once
		if err := socket.Close(); err != nil {
			t.Error(err)
		}
	}
}

// LeaveUnread asks and reads no answer.
func (l *Lookup) LeaveUnread(t *testing.T, q []Question) {
	t.Helper()
	l.enc.Reset()
	for i := range q {
		l.question(&q[i])
	}
	if err := l.socket.Send(l.enc.Bytes()); err != nil {
		t.Fatal(err)
	}
	// They are there.
	if err := l.socket.Wait(nil, 0); err != nil && !errors.Is(err, nfnl.ErrWouldBlock) {
		t.Fatal(err)
	}
}
