package traffic

import (
	"fmt"

	"verdictd/internal/netlab"
)

// netns is where one side's sockets are made; the zero value is the process's own network namespace.
type netns struct {
	path string
	ns   *netlab.NetNS
}

// openNetns opens the namespace before any thread has moved, so that /proc/thread-self in a path means what the
// caller meant.
func openNetns(path string) (netns, error) {
	if path == "" {
		return netns{}, nil
	}
	ns, err := netlab.OpenNetNS(path)
	return netns{path, ns}, err
}

// do runs f on a thread in the namespace.
func (n netns) do(f func() error) error {
	if n.ns == nil {
		return f()
	}
	entered := false
	err := n.ns.Do(func() error {
		entered = true
		return f()
	})
	if err != nil && !entered {
		return fmt.Errorf("use %s: %w (want a network namespace, and CAP_SYS_ADMIN: run as root, or in the user namespace that made it)", n.path, err)
	}
	return err
}

func (n netns) close() {
	if n.ns != nil {
		_ = n.ns.Close() // opened for reading: nothing can be lost
	}
}

// ends are both sides of a run.
type ends struct {
	sending, receiving netns
}

// open opens both. Whatever it says, they are to be closed.
func (e *ends) open(sender, receiver string) (err error) {
	if e.sending, err = openNetns(sender); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	if e.receiving, err = openNetns(receiver); err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	return nil
}

func (e *ends) close() {
	e.sending.close()
	e.receiving.close()
}
