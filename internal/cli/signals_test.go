package cli

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUntilStopped(t *testing.T) {
	for _, which := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		ctx, stop := UntilStopped(t.Context())
		if err := unix.Kill(os.Getpid(), which); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
			t.Errorf("%v does not end it", which)
		}
		stop()
	}
	signal.Ignore(unix.SIGHUP) // as nohup has it
	defer signal.Reset(unix.SIGHUP)
	ctx, stop := UntilStopped(t.Context())
	if !signal.Ignored(unix.SIGHUP) {
		t.Fatal("HUP would end a program under nohup")
	}
	stop()
	if ctx.Err() == nil {
		t.Error("it goes on after stop")
	}
}
