package debian

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeDebian puts scripts in the place of apt's programs and dpkg-deb, which have one suite with one kernel. What
// they are asked is in the file that is returned.
func fakeDebian(t *testing.T) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	programs := map[string]string{
		"apt-config": `printf 'APT::Architecture "riscv64";\nAcquire::http::Proxy "http://proxy.example";\nAPT::Update::Post-Invoke:: "rm -rf /";\nDir::State "/var/lib/apt";\n'`,
		"apt-get": `case "$*" in
*update*) test -z "$FAKE_OFFLINE" || { echo 'Could not resolve' >&2; exit 100; } ;;
*download*) for p in $3 $4 $5; do : >$p.deb; done ;;
esac`,
		"apt-cache": `case "$*" in
*"linux-image-cloud-amd64") echo 'Version: 7.0-1'; echo 'Depends: linux-base (= 1), linux-image-7.0-cloud-amd64 (= 7.0-1)' ;;
*"linux-image-7.0-cloud-amd64") echo 'Version: 1:7.0-1'; echo 'Depends: kmod, linux-modules-7.0-cloud-amd64 (= 7.0-1), linux-binary-7.0-cloud-amd64' ;;
*) echo "N: no $*" >&2; exit 100 ;;
esac`,
		// As Linux 7 has it: each package a part, the image among the modules.
		"dpkg-deb": `m=$3/usr/lib/modules/7.0-cloud-amd64; /bin/mkdir -p $m
case "$2" in *binary*) echo image >$m/vmlinuz; echo options >$m/config ;; *modules*) echo module >$m/some.ko ;; esac`,
		"depmod": `: >$2/lib/modules/$3/modules.dep`,
	}
	for name, script := range programs {
		text := "#!/bin/sh\necho " + name + ` "$*" >>` + log + "\nset -e\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	was := keyrings
	keyrings = []string{log}
	t.Cleanup(func() { keyrings = was })
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return log
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFetch(t *testing.T) {
	log, cache := fakeDebian(t), t.TempDir()
	k, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if k.Release != "7.0-cloud-amd64" || k.Version != "1:7.0-1" || k.Suite != "sid" || read(t, k.Path) != "image\n" ||
		read(t, k.Config) != "options\n" {
		t.Errorf("%+v", k)
	}
	if read(t, filepath.Join(k.Modules, "some.ko")) != "module\n" {
		t.Error("no modules")
	}
	asked := read(t, log)
	if !strings.Contains(asked, "linux-modules-7.0-cloud-amd64") ||
		!strings.Contains(asked, "linux-binary-7.0-cloud-amd64") {
		t.Errorf("the parts were not fetched:\n%s", asked)
	}
	// Once a day is enough, for this suite.
	if again, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache}); err != nil || again != k {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if now := read(t, log); now != asked {
		t.Errorf("asked once more:\n%s", strings.TrimPrefix(now, asked))
	}
	left, err := filepath.Glob(filepath.Join(cache, "debian", ".fetch-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// age makes the cache believe that a suite was asked long ago.
func age(t *testing.T, cache, suite string) {
	t.Helper()
	name := filepath.Join(cache, "debian", suite+".json")
	text := strings.Replace(read(t, name), time.Now().Format(`"asked": "2006-`), `"asked": "1999-`, 1)
	if !strings.Contains(text, "1999") {
		t.Fatalf("no date in %s", text)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutNetwork(t *testing.T) {
	fakeDebian(t)
	cache := t.TempDir()
	k, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	age(t, cache, "sid")
	t.Setenv("FAKE_OFFLINE", "1")
	said := ""
	again, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache, Progress: func(s string) { said += s + "\n" }})
	if err != nil || again != k || !strings.Contains(said, "Could not resolve") {
		t.Errorf("%+v, %v; said %q", again, err, said)
	}
	if _, err := Fetch(t.Context(), Config{Wanted: "trixie", Cache: cache}); err == nil ||
		!strings.Contains(err.Error(), "Could not resolve") {
		t.Errorf("a suite that is not known: %v", err)
	}
}

// A kernel of which something is missing is fetched again.
func TestDamagedCache(t *testing.T) {
	fakeDebian(t)
	cache := t.TempDir()
	k, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(k.Path); err != nil {
		t.Fatal(err)
	}
	again, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache})
	if err != nil || read(t, again.Path) != "image\n" {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	log, cache := fakeDebian(t), t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := Fetch(t.Context(), Config{Wanted: "sid", Cache: cache}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(read(t, log), "apt-get -q download"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestWantedIsChecked(t *testing.T) {
	fakeDebian(t)
	for _, wanted := range []string{"../etc", "Sid", "sid/../x", "sid/;reboot", "-o"} {
		if _, err := Fetch(t.Context(), Config{Wanted: wanted, Cache: t.TempDir()}); err == nil ||
			!strings.Contains(err.Error(), "neither a suite") {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

// What apt is told: everything below one folder, the machine's proxy, and none of its hooks.
func TestSettings(t *testing.T) {
	fakeDebian(t)
	for suite, security := range map[string]bool{"bookworm": true, "bookworm-backports": false, "sid": false} {
		dir := t.TempDir()
		if _, err := newAPT(t.Context(), dir, Mirror, suite); err != nil {
			t.Fatal(err)
		}
		conf := read(t, filepath.Join(dir, "apt.conf"))
		for _, want := range []string{"http://proxy.example", `Dir::State "` + dir, `APT::Architecture "amd64"`} {
			if !strings.Contains(conf, want) {
				t.Errorf("no %s in the settings:\n%s", want, conf)
			}
		}
		for _, bad := range []string{"rm -rf", "riscv64", "/var/lib/apt"} {
			if strings.Contains(conf, bad) {
				t.Errorf("%s in the settings:\n%s", bad, conf)
			}
		}
		sources := read(t, filepath.Join(dir, "sources.list"))
		if got := strings.Contains(sources, "debian-security "+suite+"-security"); got != security ||
			strings.Count(sources, "signed-by=") != strings.Count(sources, "deb ") {
			t.Errorf("%s: sources:\n%s", suite, sources)
		}
	}
}

func TestWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Fetch(t.Context(), Config{Cache: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "--image FILE") {
		t.Errorf("%v: want it to say what to do without apt", err)
	}
}
