package kernelfacts

import (
	"bufio"
	"bytes"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Distribution is what os-release tells: whose userland this is. In a container
// it need not be that of the kernel.
type Distribution struct {
	ID      string   `json:"id"`
	Like    []string `json:"like,omitempty"`
	Name    string   `json:"name"`
	Version string   `json:"version,omitempty"`
}

// backporting are the distributions whose kernels keep a mainline release's
// number for years while fixes and features are added.
var backporting = []string{"rhel", "centos", "almalinux", "rocky", "ol", "suse", "sles", "opensuse-leap", "amzn", "ubuntu"}

func (d Distribution) backports() bool {
	return slices.ContainsFunc(append([]string{d.ID}, d.Like...), func(id string) bool { return slices.Contains(backporting, id) })
}

// ReadDistribution reads os-release below root.
func ReadDistribution(root fs.FS) Reading[Distribution] {
	text := readText(root, "etc/os-release")
	if text.Err != nil {
		// os-release(5): the second place, where the first does not exist.
		if text = readText(root, "usr/lib/os-release"); text.Err != nil {
			return unread[Distribution](text.Err)
		}
	}
	return read(parseOSRelease([]byte(text.Value)))
}

func parseOSRelease(text []byte) Distribution {
	var d Distribution
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		switch value = unquote(value); key {
		case "ID":
			d.ID = value
		case "ID_LIKE":
			d.Like = strings.Fields(value)
		case "VERSION_ID":
			d.Version = value
		case "PRETTY_NAME":
			d.Name = value
		}
	}
	return d
}

// unquote takes a shell's quotes off, single ones included.
func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return strings.Trim(s, `'"`)
}
