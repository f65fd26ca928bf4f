package kernelfacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Host is what an assessment needs to know of a machine. Each part that could
// not be read says why.
type Host struct {
	Distribution   Reading[Distribution] `json:"distribution"`
	Kernel         Reading[Build]        `json:"kernel"`
	Changelog      Reading[Changelog]    `json:"changelog"`
	Modules        []Module              `json:"modules"`
	Kmod           Reading[Kmod]         `json:"kmod"`
	UserNamespaces UserNamespaces        `json:"user_namespaces"`
	Conntrack      ConntrackSettings     `json:"conntrack"`
}

// ReadHost reads the machine whose root folder is given, os.DirFS("/") for the
// real one, and runs programs by run. What depends on a network namespace is
// that of the calling thread, which the caller locks.
func ReadHost(ctx context.Context, root fs.FS, run Runner) *Host {
	h := &Host{
		Distribution:   ReadDistribution(root),
		Kmod:           ReadKmod(ctx, run),
		UserNamespaces: ReadUserNamespaces(root),
		Conntrack:      ReadConntrack(root),
	}
	release := readText(root, "proc/sys/kernel/osrelease")
	h.Modules = ReadModules(root, release.Value)
	h.Kernel = readBuild(root, release, h.Distribution.Value)
	if release.Err != nil {
		h.Changelog = unread[Changelog](errors.New("the kernel's release is not known"))
		return h
	}
	log, err := ReadChangelog(ctx, run, release.Value)
	h.Changelog = Reading[Changelog]{log, err}
	return h
}

// ReadBuild identifies the kernel that runs the machine whose root folder is
// given.
func ReadBuild(root fs.FS) Reading[Build] {
	return readBuild(root, readText(root, "proc/sys/kernel/osrelease"), ReadDistribution(root).Value)
}

func readBuild(root fs.FS, release Reading[string], distribution Distribution) Reading[Build] {
	if release.Err != nil {
		return unread[Build](release.Err)
	}
	// Both may be missing: they refine what the release tells.
	version, signature := readText(root, "proc/sys/kernel/version"), readText(root, "proc/version_signature")
	b, err := Identify(Names{release.Value, version.Value, signature.Value, distribution})
	return Reading[Build]{b, err}
}

// ConntrackSettings are the sysctls of net.netfilter that matter to a clash, of
// one network namespace.
type ConntrackSettings struct {
	Events           Reading[uint64] `json:"nf_conntrack_events"` // see [EventsSetting]
	Max              Reading[uint64] `json:"nf_conntrack_max"`
	Count            Reading[uint64] `json:"nf_conntrack_count"`
	Buckets          Reading[uint64] `json:"nf_conntrack_buckets"`
	UDPTimeout       Reading[uint64] `json:"nf_conntrack_udp_timeout"`        // seconds
	UDPTimeoutStream Reading[uint64] `json:"nf_conntrack_udp_timeout_stream"` // seconds
}

// ReadConntrack reads the settings of the calling thread's network namespace:
// unlike /proc/net, /proc/sys/net is looked up for the thread that opens it.
func ReadConntrack(root fs.FS) ConntrackSettings {
	setting := func(name string) Reading[uint64] {
		return readNumber(root, "proc/sys/net/netfilter/nf_conntrack_"+name)
	}
	return ConntrackSettings{
		Events: setting("events"), Max: setting("max"), Count: setting("count"), Buckets: setting("buckets"),
		UDPTimeout: setting("udp_timeout"), UDPTimeoutStream: setting("udp_timeout_stream"),
	}
}

// UserNamespaceAccess says whether an ordinary user can make a user namespace,
// and so be root in a network namespace of his own.
type UserNamespaceAccess string

// The answers.
const (
	UserNamespacesOpen       UserNamespaceAccess = "open"
	UserNamespacesRestricted UserNamespaceAccess = "restricted" // to programs with an AppArmor profile
	UserNamespacesClosed     UserNamespaceAccess = "closed"
	UserNamespacesUnknown    UserNamespaceAccess = "unknown"
)

// UserNamespaces says who can make user namespaces. A seccomp filter or another
// security module may forbid more than is seen here.
type UserNamespaces struct {
	Access UserNamespaceAccess `json:"access"`
	Reason string              `json:"reason"`
}

// ReadUserNamespaces reads the settings that bound user namespaces. The first
// and the last are patches of distributors: other kernels have no such file.
func ReadUserNamespaces(root fs.FS) UserNamespaces {
	var unreadable error
	is := func(name string, value uint64) bool {
		n := readNumber(root, "proc/sys/"+name)
		if n.Err != nil && !errors.Is(n.Err, fs.ErrNotExist) {
			unreadable = together(unreadable, n.Err)
		}
		return n.Err == nil && n.Value == value
	}
	const (
		clone    = "kernel/unprivileged_userns_clone" // Debian, Ubuntu
		most     = "user/max_user_namespaces"
		apparmor = "kernel/apparmor_restrict_unprivileged_userns" // Ubuntu
	)
	if _, err := fs.Lstat(root, "proc/self/ns/user"); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return UserNamespaces{UserNamespacesClosed, "the kernel has no user namespaces (CONFIG_USER_NS)"}
		}
		unreadable = fmt.Errorf("could not read: %w", err)
	}
	switch {
	case is(clone, 0):
		return UserNamespaces{UserNamespacesClosed, "kernel.unprivileged_userns_clone is 0"}
	case is(most, 0):
		return UserNamespaces{UserNamespacesClosed, "user.max_user_namespaces is 0"}
	case is(apparmor, 1):
		return UserNamespaces{UserNamespacesRestricted, "kernel.apparmor_restrict_unprivileged_userns is 1: only programs with a profile that allows it"}
	case unreadable != nil:
		return UserNamespaces{UserNamespacesUnknown, unreadable.Error()}
	}
	return UserNamespaces{UserNamespacesOpen, "no setting forbids it"}
}
