package procnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

const (
	// setUpTime is how long the working process may take to make its namespaces, and to say that it is there.
	setUpTime = 60 * time.Second
	// silence is how long it may say nothing, beyond Config.HangAfter: then even its watchdog hangs.
	silence = 30 * time.Second
	// endTime is how long it may take to end, by itself and again when it is killed.
	endTime = 10 * time.Second
)

// errSilent says that the working process says nothing any more.
var errSilent = errors.New("the working process says nothing any more: its watchdog hangs as well")

// Run starts the working process and returns what it saw. The command runs [Work]. Run returns within bounded time
// whatever hangs. What the run found is in the result, see [Result.Failed]; the error is for what kept it from running.
func Run(ctx context.Context, cfg Config, command []string, stderr io.Writer) (*Result, error) {
	if err := Validate(&cfg); err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...) // not bound to ctx: it is to write its result first
	cmd.Stderr = stderr
	cmd.WaitDelay = endTime                               // for stderr, which the processes that it started share
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is this process's to handle
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the working process: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the working process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the working process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = stdin.Close() })
	defer stop()
	err = json.NewEncoder(stdin).Encode(cfg)
	var res *Result
	if err == nil {
		res, err = listen(stdout, cfg.HangAfter)
	}
	_ = stdin.Close() // it may have been closed for ctx
	unkillable := end(cmd)
	switch {
	case res != nil:
		res.Unkillable = unkillable
	case unkillable != 0:
		err = errors.Join(err, staysBehind(unkillable))
	}
	return res, err
}

func staysBehind(pid int) error {
	return fmt.Errorf("process %d cannot be killed, as threads of it wait uninterruptibly: it stays until the next boot",
		pid)
}

// listen reads messages until the result.
func listen(stdout io.Reader, hangAfter time.Duration) (*Result, error) {
	messages := make(chan message)
	broken := make(chan error, 1)
	go func() {
		lines := json.NewDecoder(bufio.NewReader(stdout))
		for {
			var m message
			if err := lines.Decode(&m); err != nil {
				broken <- err
				return
			}
			messages <- m
			if !m.Alive {
				return
			}
		}
	}()
	patience := time.NewTimer(setUpTime)
	defer patience.Stop()
	for {
		select {
		case m := <-messages:
			switch {
			case m.Alive:
				patience.Reset(hangAfter + silence)
			case m.Error != "":
				return nil, errors.New(m.Error)
			default:
				return m.Result, nil
			}
		case err := <-broken:
			return nil, fmt.Errorf("the working process ended without a result: %w", err)
		case <-patience.C:
			return nil, errSilent
		}
	}
}

// end waits for the process, kills it, and returns its id if not even that ends it.
func end(cmd *exec.Cmd) (unkillable int) {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it had to say it has said
		close(ended)
	}()
	for range 2 {
		select {
		case <-ended:
			return 0
		case <-time.After(endTime):
			_ = cmd.Process.Kill()
		}
	}
	select {
	case <-ended:
		return 0
	default:
		return cmd.Process.Pid
	}
}
