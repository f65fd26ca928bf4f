package privileges

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// readable is what the daemon reads of the system while it runs: the kernel's files, and what the audit looks up when
// the rules have changed. Time zones are those that a reload's rules name, where package time looks for them.
var readable = []string{
	"/proc", "/sys", "/lib/modules", "/usr/lib/modules", "/boot", "/etc/os-release", "/usr/lib/os-release", "/etc/localtime",
	"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo",
}

// fenceFiles leaves the named files and folders. The ABI is that of Linux 6.10, which fences files and devices; sockets
// have no fence, as a reload may name other ports.
func fenceFiles(read, write []string) error {
	if version, err := ll.LandlockGetABIVersion(); err != nil || version < 1 {
		return errNoSupport
	}
	rules := []landlock.Rule{
		landlock.RWFiles("/dev/null", "/dev/urandom").IgnoreIfMissing(),
	}
	for _, path := range append(append([]string{}, readable...), read...) {
		rules = append(rules, rule(path, landlock.RODirs, landlock.ROFiles))
	}
	for _, path := range write {
		rules = append(rules, rule(path, landlock.RWDirs, landlock.RWFiles))
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("fence files in: %w", err)
	}
	return nil
}

// rule is for a folder with all that is in it, or for a file.
func rule(path string, folder, file func(...string) landlock.FSRule) landlock.Rule {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return file(path).IgnoreIfMissing()
	}
	return folder(path).IgnoreIfMissing()
}
