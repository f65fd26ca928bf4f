package cli

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUntilStopped(t *testing.T) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP) // not ignored from here on, as where the tests themselves run under nohup
	defer signal.Stop(hangups)
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
