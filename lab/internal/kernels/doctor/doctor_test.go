package doctor

import (
	"slices"
	"strings"
	"testing"
)

func TestDiagnose(t *testing.T) {
	const (
		debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"
		ubuntu = "PRETTY_NAME='Ubuntu 24.04'\nID=ubuntu\nID_LIKE=debian\n"
		rocky  = "PRETTY_NAME=\"Rocky Linux 9\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"
		arch   = "PRETTY_NAME=\"Arch Linux\"\nID=arch\n"
	)
	everything := func(place string) string { return "/found/" + place }
	but := func(missing ...string) func(string) string {
		return func(place string) string {
			if slices.Contains(missing, place) {
				return ""
			}
			return everything(place)
		}
	}
	for _, test := range []struct {
		name, release string
		find          func(string) string
		ok            bool
		install       string
		text          string // part of it
	}{
		{"all there", debian, everything, true, "", "Debian GNU/Linux 12 (bookworm)\n"},
		{"no qemu", debian, but("qemu-system-x86_64"), false,
			"sudo apt-get install --no-install-recommends qemu-system-x86", "run     qemu            MISSING"},
		{"two missing", ubuntu, but("flex", "/usr/include/libelf.h", "/usr/include/libelf/libelf.h"), false,
			"sudo apt-get install --no-install-recommends flex libelf-dev", "Ubuntu 24.04"},
		{"libelf elsewhere", ubuntu, but("/usr/include/libelf.h"), true, "", "/found//usr/include/libelf/libelf.h"},
		{"depmod in sbin", debian, but("depmod"), true, "", "/found//sbin/depmod"},
		{"Rocky", rocky, but("qemu-system-x86_64", "gcc"), false, "sudo dnf install qemu-system-x86 gcc", ""},
		{"Rocky without apt", rocky, but("apt-get", "dpkg-deb"), true, "", "not there: without it give --image FILE"},
		{"another one", arch, but("bison"), false, "", "names of its packages are not known here"},
		{"no os-release", "", everything, true, "", "unknown distribution"},
	} {
		d := examine([]byte(test.release), items(), test.find)
		var text strings.Builder
		if err := d.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if d.OK != test.ok || d.Install != test.install || !strings.Contains(text.String(), test.text) {
			t.Errorf("%s: ok %v, install %q, want %v, %q; text:\n%s", test.name, d.OK, d.Install, test.ok, test.install,
				text.String())
		}
	}
}
