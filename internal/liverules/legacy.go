package liverules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A protocol is one of the two that have legacy tables which can queue.
type protocol struct {
	family  Family
	program string
	// names lists the tables that exist, for root alone.
	names         string
	domain, level int
}

var protocols = []protocol{
	{IPv4, "iptables", "/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP},
	{IPv6, "ip6tables", "/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6},
}

// Options of both levels (linux/netfilter_ipv4/ip_tables.h).
const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES
)

// Sizes and offsets in struct ipt_getinfo and struct ipt_get_entries.
const (
	tableNameLen  = 32
	infoHooks     = tableNameLen
	infoEntry     = infoHooks + 4
	infoUnderflow = infoEntry + 5*4
	infoNumber    = infoUnderflow + 5*4
	infoSize      = infoNumber + 4
	infoLen       = infoSize + 4
	entriesSize   = tableNameLen
)

// changes is how often a table may change while it is read.
const changes = 10

// explainNames says what opens the list of tables, whose mode is 0440.
func explainNames(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: it takes the user or the group that is root in the network namespace "+
			"(SupplementaryGroups=root), or CAP_DAC_READ_SEARCH", err)
	}
	return err
}

// readLegacy reads all tables that exist.
func readLegacy(p protocol) (chains []*chain, err error) {
	names, err := os.ReadFile(p.names)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // the module is not loaded, so there are no tables
	case err != nil:
		return nil, fmt.Errorf("list the tables: %w", explainNames(err))
	case len(names) == 0:
		return nil, nil
	}
	socket, err := unix.Socket(p.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(socket)) }()
	for name := range strings.FieldsSeq(string(names)) {
		t, err := readLegacyTable(socket, p.level, name)
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("read table %s (needs CAP_NET_ADMIN in the network namespace): %w", name, err)
		}
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", name, err)
		}
		more, err := t.chains(layoutOf(p.family))
		if err != nil {
			return nil, fmt.Errorf("decode table %s: %w", name, err)
		}
		chains = append(chains, more...)
	}
	return chains, nil
}

// readLegacyTable reads a table. Its size is asked for first; if it changes
// before the entries are read, the kernel refuses (EAGAIN).
func readLegacyTable(socket, level int, name string) (legacyTable, error) {
	if len(name) >= tableNameLen {
		return legacyTable{}, fmt.Errorf("a name of %d bytes: %w", len(name), errMalformed)
	}
	for attempt := 1; ; attempt++ {
		info := make([]byte, infoLen)
		copy(info, name)
		if err := getsockopt(socket, level, getInfo, info); err != nil {
			return legacyTable{}, fmt.Errorf("IPT_SO_GET_INFO: %w", err)
		}
		t := legacyTable{name: name, validHooks: binary.NativeEndian.Uint32(info[infoHooks:])}
		for i := range t.entry {
			t.entry[i] = binary.NativeEndian.Uint32(info[infoEntry+4*i:])
			t.underflow[i] = binary.NativeEndian.Uint32(info[infoUnderflow+4*i:])
		}
		size := binary.NativeEndian.Uint32(info[infoSize:])
		header := align(entriesSize + 4)
		answer := make([]byte, header+int(size))
		copy(answer, name)
		binary.NativeEndian.PutUint32(answer[entriesSize:], size)
		err := getsockopt(socket, level, getEntries, answer)
		if errors.Is(err, unix.EAGAIN) && attempt < changes {
			continue
		}
		if err != nil {
			return legacyTable{}, fmt.Errorf("IPT_SO_GET_ENTRIES: %w", err)
		}
		t.entries = answer[header:]
		return t, nil
	}
}

// getsockopt fills a buffer whose beginning the kernel reads, which package
// unix has no function for.
func getsockopt(socket, level, option int, buffer []byte) error {
	length := uint32(len(buffer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(buffer))), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	if int(length) != len(buffer) {
		return fmt.Errorf("%d bytes instead of %d: %w", length, len(buffer), errMalformed)
	}
	return nil
}
