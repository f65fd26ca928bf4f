package results

import (
	"os"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"

	"verdictd/internal/crash"
	"verdictd/internal/kernelfacts"
)

// Host is the machine: what is known to change figures.
type Host struct {
	// Kernel is `uname -r`, Build `uname -v`.
	Kernel       string `json:"kernel"`
	Build        string `json:"kernel_build"`
	Distribution string `json:"distribution"`
	Architecture string `json:"architecture"`
	// CPUs is how many the process may use.
	CPUs     int    `json:"cpus"`
	CPUModel string `json:"cpu_model"`
	// Tainted is the kernel's taint mask before the run.
	Tainted uint64 `json:"tainted"`
	// Sysctls are those of the machine, not of a namespace.
	Sysctls map[string]string `json:"sysctls"`
}

// hostSysctls bound what a load can do, or what can be seen of it.
var hostSysctls = []string{
	"kernel.dmesg_restrict",
	"net.core.netdev_budget",
	"net.core.netdev_max_backlog",
	"net.core.rmem_default",
	"net.core.rmem_max",
	"net.core.wmem_default",
	"net.core.wmem_max",
}

// ReadHost reads the machine. The kernel's release and taint mask are errors if they cannot be read; the rest may be
// missing.
func ReadHost() (Host, error) {
	h := Host{
		Build:        first("/proc/sys/kernel/version"),
		Distribution: kernelfacts.ReadDistribution(os.DirFS("/")).Value.Name,
		Architecture: runtime.GOARCH,
		CPUs:         runtime.NumCPU(),
		CPUModel:     cpuModel(),
		Sysctls:      readSysctls(hostSysctls),
	}
	if h.Distribution == "" {
		h.Distribution = "unknown distribution"
	}
	var err error
	if h.Kernel, err = kernelfacts.Release(); err != nil {
		return h, err
	}
	h.Tainted, err = crash.Taint()
	return h, err
}

// cpuModel is empty where /proc/cpuinfo names none, as on arm64.
func cpuModel() string {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return ""
	}
	cpus, err := proc.CPUInfo()
	if err != nil || len(cpus) == 0 {
		return ""
	}
	return cpus[0].ModelName
}

// readSysctls reads those that there are, of the calling thread's namespaces.
func readSysctls(names []string) map[string]string {
	values := map[string]string{}
	for _, name := range names {
		if value := first("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); value != "" {
			values[name] = value
		}
	}
	return values
}

// first is a file's text without white space around it; empty where it cannot be read.
func first(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(text)), " ")
}
