package fdstore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxMessage is what a manager reads of one message, in bytes (NOTIFY_BUFFER_MAX of
// systemd), and maxRights how many descriptors the kernel passes with one (SCM_MAX_FD).
const (
	maxMessage = 4096
	maxRights  = 253
)

// DefaultSize is how many descriptors a Server keeps: two for each of 256 queues, and
// as many for a gate.
const DefaultSize = 1024

// A Message is what a child told besides its descriptors: assignments such as
// "READY=1", "STOPPING=1", "WATCHDOG=1", "RELOADING=1", "STATUS=...".
type Message struct {
	// PID is the process that sent it; 0 where the kernel does not tell.
	PID int
	// Fields are the assignments, in their order.
	Fields []string
}

// Has reports whether the message has an assignment, as "READY=1".
func (m Message) Has(assignment string) bool { return slices.Contains(m.Fields, assignment) }

// Value is what a name is set to.
func (m Message) Value(name string) (value string, ok bool) {
	for _, f := range m.Fields {
		if v, found := strings.CutPrefix(f, name+"="); found {
			return v, true
		}
	}
	return "", false
}

type kept struct {
	name string
	file *os.File
	// device and inode tell the object behind a descriptor: each socket and each memfd
	// has its own.
	device, inode uint64
}

// A Server keeps descriptors for a child, and gives them to the next one. Receive is
// for one goroutine; the other methods may be called meanwhile.
type Server struct {
	conn *net.UnixConn
	path string
	size int

	mutex   sync.Mutex
	kept    []kept
	refused int
}

// Listen makes a store of so many descriptors behind a socket with this path, which
// must not be there yet. Only the user that owns it, and root, may send to it: where
// the child is another one, the caller changes the owner.
func Listen(path string, size int) (*Server, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		return nil, fmt.Errorf("open a descriptor store: %w", err)
	}
	s := &Server{conn: conn, path: path, size: size}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open a descriptor store: %w", err), s.Close())
	}
	return s, nil
}

func (s *Server) prepare() error {
	if err := os.Chmod(s.path, 0o600); err != nil {
		return err
	}
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	return errors.Join(err, refused)
}

// Address is where children send to, as in $NOTIFY_SOCKET.
func (s *Server) Address() string { return s.path }

// Receive waits for the next message, does what it says about descriptors, and returns
// the rest of it. What is not understood is left out.
//
// Errors: net.ErrClosed after Close.
func (s *Server) Receive() (Message, error) {
	for {
		if m, whole, err := s.receive(); whole || err != nil {
			return m, err
		}
	}
}

// receive takes one message. It does nothing about half a one, which means something
// else.
func (s *Server) receive() (m Message, whole bool, err error) {
	b, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxRights)+unix.CmsgSpace(unix.SizeofUcred))
	// Go's net package has descriptors that arrive closed in programs that are started.
	n, controlled, flags, _, err := s.conn.ReadMsgUnix(b, control)
	if err != nil {
		return Message{}, false, fmt.Errorf("descriptor store: %w", err)
	}
	m, files := parse(b[:n], control[:controlled])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		closeAll(files)
		return Message{}, false, nil
	}
	s.carryOut(&m, files)
	return m, true, nil
}

// Drain carries out what was sent already, as by a child that has ended, and returns
// what else was told. There must be no Receive under way.
func (s *Server) Drain() (list []Message) {
	for s.pending() {
		m, whole, err := s.receive()
		if err != nil {
			return list
		}
		if whole {
			list = append(list, m)
		}
	}
	return list
}

// pending reports whether a message waits.
func (s *Server) pending() bool {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return err == nil && n > 0
}

func parse(b, control []byte) (m Message, files []*os.File) {
	for f := range strings.SplitSeq(string(b), "\n") {
		if strings.Contains(f, "=") {
			m.Fields = append(m.Fields, f)
		}
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return m, nil
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			m.PID = int(cred.Pid)
		}
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "stored"))
		}
	}
	return m, files
}

// own are assignments that concern descriptors.
func own(field string) bool {
	name, _, _ := strings.Cut(field, "=")
	return slices.Contains([]string{"FDSTORE", "FDSTOREREMOVE", "FDNAME", "FDPOLL", "BARRIER"}, name)
}

func (s *Server) carryOut(m *Message, files []*os.File) {
	name, named := m.Value("FDNAME")
	if !named || name == "" || len(name) > 255 || strings.ContainsRune(name, ':') {
		name = "stored" // systemd's for descriptors without one
	}
	switch {
	case m.Has("FDSTOREREMOVE=1"):
		if named {
			s.remove(name)
		}
	case m.Has("FDSTORE=1"):
		for _, f := range files {
			s.keep(name, f)
		}
		files = nil
	}
	// What is not stored is closed, which is what BARRIER=1 waits for.
	closeAll(files)
	m.Fields = slices.DeleteFunc(m.Fields, own)
}

func (s *Server) keep(name string, f *os.File) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var stat unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &stat)
	k := kept{name: name, file: f, device: stat.Dev, inode: stat.Ino}
	same := func(o kept) bool { return o.device == k.device && o.inode == k.inode }
	switch {
	case err == nil && slices.ContainsFunc(s.kept, same):
		_ = f.Close() // as systemd does: the first name stays
	case err != nil || len(s.kept) >= s.size:
		s.refused++
		_ = f.Close()
	default:
		s.kept = append(s.kept, k)
	}
}

func (s *Server) remove(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(k kept) bool {
		if k.name == name {
			_ = k.file.Close()
		}
		return k.name == name
	})
}

// Names of what is kept, and how many descriptors were refused as there was no room.
func (s *Server) Names() (names []string, refused int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, k := range s.kept {
		names = append(names, k.name)
	}
	return names, s.refused
}

// Files are what is kept, under the names that Names tells. They stay the Server's.
func (s *Server) Files() (files []*os.File) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, k := range s.kept {
		files = append(files, k.file)
	}
	return files
}

// Release closes all that is kept: the queues of sockets end, and what waits in them is
// dropped.
func (s *Server) Release() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, k := range s.kept {
		_ = k.file.Close()
	}
	s.kept = nil
}

// Hand prepares a command that was not started to begin with what is kept, and to reach
// this store. It sets Env and ExtraFiles, which are to be left alone then. The files are
// duplicates, as an earlier child may still have some removed; done closes them, after
// the start or instead of it.
func (s *Server) Hand(cmd *exec.Cmd) (done func(), err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var names []string
	var files []*os.File
	done = func() { closeAll(files) }
	for _, k := range s.kept {
		fd, err := unix.FcntlInt(k.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			done()
			return nil, fmt.Errorf("hand over descriptor %s: %w", k.name, err)
		}
		names, files = append(names, k.name), append(files, os.NewFile(uintptr(fd), k.name))
	}
	cmd.ExtraFiles = files
	env := cmd.Env
	if env == nil {
		env = os.Environ()
	}
	cmd.Env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{variableSocket, variableSize, variablePID, variableCount, variableNames, variableKeeper}, name)
	})
	cmd.Env = append(cmd.Env, variableSocket+"="+s.path, variableSize+"="+strconv.Itoa(s.size), variableKeeper+"="+strconv.Itoa(os.Getpid()))
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, variableCount+"="+strconv.Itoa(len(names)), variableNames+"="+strings.Join(names, ":"))
	}
	return done, nil
}

// Close releases what is kept and takes the socket away. Receive returns.
func (s *Server) Close() error {
	s.Release()
	return errors.Join(s.conn.Close(), os.Remove(s.path))
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
