package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
)

// Bridging says whether bridged packets come to rules.
type Bridging struct {
	// Bridges are the interfaces that are one.
	Bridges []string `json:"bridges"`
	// CallsIP: bridged packets run through the hooks of IP too (br_netfilter). The
	// setting is on by default, with or without a bridge.
	CallsIP bool `json:"calls_ip_hooks"`
}

func readBridging(root fs.FS) (r kernelfacts.Reading[Bridging]) {
	r.Value.Bridges = []string{}
	for _, name := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		text, err := fs.ReadFile(root, "proc/sys/net/bridge/"+name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // no br_netfilter
		case err != nil:
			r.Err = fmt.Errorf("could not read: %w", err)
			return r
		case strings.TrimSpace(string(text)) != "0":
			r.Value.CallsIP = true
		}
	}
	bridges, err := listBridges()
	r.Value.Bridges, r.Err = append(r.Value.Bridges, bridges...), err
	return r
}

// listBridges asks every interface of the thread's namespace for its driver: sysfs
// would show those of the namespace that it was mounted in.
func listBridges() ([]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ask the interfaces for their drivers: %w", err)
	}
	defer unix.Close(s) //nolint:errcheck // it was only read
	var bridges []string
	for _, l := range links {
		// Some have no driver to tell of; a bridge does.
		if info, err := unix.IoctlGetEthtoolDrvinfo(s, l.Name); err == nil && unix.ByteSliceToString(info.Driver[:]) == "bridge" {
			bridges = append(bridges, l.Name)
		}
	}
	return bridges, nil
}
