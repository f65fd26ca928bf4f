package privileges

import (
	"errors"
	"fmt"
)

// Config says what is given up.
type Config struct {
	// User is a name or number to go on as; empty: the present one.
	User string
	// Kept says that the process's parent is one whose death is to end it in order.
	Kept bool
	// Capabilities gives up all but CAP_NET_ADMIN, and everything that a program that is executed could gain.
	Capabilities bool
	// Seccomp leaves the system calls that the daemon makes.
	Seccomp bool
	// Landlock leaves the files that the daemon uses, and those of Read and Write.
	Landlock bool
	// Read are files and folders to be read, Write those in which files are made and replaced. What does not exist is
	// left out.
	Read, Write []string
}

// Confined is what came of it.
type Confined struct {
	// Done are the parts in force, Missing what this kernel or the process's surroundings do not let it do.
	Done    []string
	Missing []error
}

// Confine gives up what c says for all threads of the process. A part that the kernel does not have is told in
// Confined; an error is one that the caller should not go on with: the user does not exist, or half of it was done.
func Confine(c Config) (*Confined, error) {
	r := &Confined{}
	owners, err := lookUp(c.User)
	if err != nil {
		return nil, err
	}
	if c.Capabilities || owners != nil {
		if err := noNewPrivileges(); err != nil {
			return nil, err
		}
		r.Done = append(r.Done, "no_new_privs")
	}
	if c.Capabilities {
		// Before the user is another one, who may not do that.
		if err := dropBounding(); err != nil {
			r.Missing = append(r.Missing, err)
		}
	}
	if owners != nil {
		if err := owners.become(); err != nil {
			return nil, err
		}
		if c.Kept {
			if err := followParent(); err != nil {
				return nil, err
			}
		}
		r.Done = append(r.Done, "user "+c.User)
	}
	if c.Capabilities || owners != nil {
		if err := keepCapabilities(); err != nil {
			return nil, err
		}
		r.Done = append(r.Done, "capabilities")
	}
	r.note("landlock", c.Landlock, func() error { return fenceFiles(c.Read, c.Write) })
	r.note("seccomp", c.Seccomp, filterCalls)
	return r, nil
}

// note does a part that not every kernel has.
func (r *Confined) note(name string, wanted bool, do func() error) {
	if !wanted {
		return
	}
	if err := do(); err != nil {
		r.Missing = append(r.Missing, fmt.Errorf("%s: %w", name, err))
		return
	}
	r.Done = append(r.Done, name)
}

// errNoSupport is for kernels without a part.
var errNoSupport = errors.New("this kernel does not have it, or it is turned off")
