package kernelfacts

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Version is an upstream kernel version. A mainline release has patch 0, and
// Major.Minor names the stable branch that begins with it. 2.6.32 is read like
// any other, as patch 32 of 2.6.
type Version struct{ Major, Minor, Patch int }

// V is short for a version, for tables of them.
func V(major, minor, patch int) Version { return Version{major, minor, patch} }

var versionText = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})(?:\.(\d{1,5}))?`)

// versionRest is what may follow a version; a fourth number only follows a third.
var versionRest = regexp.MustCompile(`^([-+~_]|\.\d)`)

// ParseVersion reads the version that a release such as 6.1.0-28-amd64 begins
// with, and returns what follows it. A missing patch, as in 6.18-rc1, is 0.
func ParseVersion(release string) (v Version, rest string, err error) {
	m := versionText.FindStringSubmatch(release)
	if m != nil {
		rest = release[len(m[0]):]
	}
	if m == nil || rest != "" && !versionRest.MatchString(rest) || m[3] == "" && strings.HasPrefix(rest, ".") {
		return Version{}, "", fmt.Errorf("%q does not begin with a kernel version such as 6.12.40", release)
	}
	var numbers [3]int
	for i, digits := range m[1:] {
		numbers[i], _ = strconv.Atoi(digits) // at most five; none is 0
	}
	return V(numbers[0], numbers[1], numbers[2]), rest, nil
}

// Compare orders versions as cmp.Compare does numbers.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Major, o.Major), cmp.Compare(v.Minor, o.Minor), cmp.Compare(v.Patch, o.Patch))
}

// branch is the mainline release that v's stable branch begins with.
func (v Version) branch() Version { return V(v.Major, v.Minor, 0) }

// String returns the version as releases are called: 6.12, 6.12.40.
func (v Version) String() string {
	if v.Patch == 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// MarshalText writes the version as String does.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
