package vm

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reportPort is the guest's second serial port.
const reportPort = "/dev/ttyS1"

// Guest is the init of a machine that Run booted. It does not return there. Elsewhere it refuses.
func Guest() error {
	beside := os.Getenv(agent) != ""
	if os.Getpid() != 1 && !beside {
		return errors.New("this is the init of the lab's virtual machines, and does nothing elsewhere")
	}
	t, err := readTask()
	if err != nil {
		return fmt.Errorf("this is the init of the lab's virtual machines: %w", err)
	}
	if !beside {
		err = mountAll() // there is no port yet to say it on; the console has it
	}
	if err == nil && t.System != "" && !beside {
		err = handOver(t.System)
	}
	if err == nil {
		err = serve(t)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	unix.Sync()
	// Without ACPI there is no way to switch off; a machine that is not to be reset (-no-reboot) ends here.
	err = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	return fmt.Errorf("reboot: %w", err) // and init's end is a panic, which ends the machine as well
}

func readTask() (*task, error) {
	text, err := os.ReadFile(taskFile)
	if err != nil {
		return nil, err
	}
	var t task
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("read %s: %w", taskFile, err)
	}
	return &t, nil
}

// serve does the task and reports.
func serve(t *task) error {
	port, err := openPort(reportPort)
	if err != nil {
		return fmt.Errorf("open the port to the host: %w", err)
	}
	defer drain(port)
	report := &frameWriter{w: port}
	if err := report.write(kindReady, nil); err != nil {
		return err
	}
	status, err := perform(t, report)
	if err != nil {
		return errors.Join(err, report.write(kindError, []byte(err.Error())), report.write(kindEnd, nil))
	}
	// The files first: who has the status has them all.
	sent := sendOutputs(report, "/out")
	if sent != nil {
		return errors.Join(sent, report.write(kindError, []byte(sent.Error())), report.write(kindEnd, nil))
	}
	return errors.Join(
		report.write(kindExit, binary.BigEndian.AppendUint32(nil, uint32(int32(status)))),
		report.write(kindEnd, nil))
}

func perform(t *task, report *frameWriter) (status int, err error) {
	if err := settle(); err != nil {
		return 0, err
	}
	for _, file := range t.Modules {
		if err := loadModule(file); err != nil {
			return 0, err
		}
	}
	if err := report.write(kindStart, nil); err != nil {
		return 0, err
	}
	return execute(t, report)
}

// execute runs the command. A program that is not there or cannot run is a failure of the setup, not of the command.
func execute(t *task, report *frameWriter) (int, error) {
	cmd := exec.Command(t.Command[0], t.Command[1:]...)
	cmd.Dir = "/root"
	cmd.Env = append(os.Environ(), t.Env...)
	cmd.Stdout, cmd.Stderr = stream{report, kindStdout}, stream{report, kindStderr}
	cmd.WaitDelay = 10 * time.Second // for services that it left running with its output
	err := cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0, nil
	case !ended:
		return 0, fmt.Errorf("run the command: %w", err)
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal()), nil // as shells say it
	}
	return exit.ExitCode(), nil
}

func sendOutputs(report *frameWriter, dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name) //nolint:gosec // the command that could put a link there is over, and was root here
		if err != nil {
			return err
		}
		if err := report.write(kindName, []byte(relative)); err != nil || len(b) == 0 {
			return err
		}
		return report.write(kindData, b)
	})
}

// loadModule loads a file. That it is there already is fine.
func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("kernel module: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load kernel module %s: %w", filepath.Base(file), err)
	}
	return nil
}
