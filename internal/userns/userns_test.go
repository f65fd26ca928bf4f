package userns

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdvice(t *testing.T) {
	root := t.TempDir()
	set := func(name, value string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := advice(root, "lab"); !strings.Contains(got, "container") || !strings.Contains(got, "sudo ") {
		t.Errorf("nothing known: %s", got)
	}
	set("user/max_user_namespaces", "15000")
	set("kernel/unprivileged_userns_clone", "1")
	if got := advice(root, "lab"); strings.Contains(got, "sysctl user.") || strings.Contains(got, "sysctl kernel.") {
		t.Errorf("what forbids nothing is blamed: %s", got)
	}
	set("user/max_user_namespaces", "0")
	set("kernel/apparmor_restrict_unprivileged_userns", "1")
	got := advice(root, "lab")
	for _, want := range []string{
		"sudo sysctl user.max_user_namespaces=15000",
		"sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
		"Or run lab as root: sudo ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in: %s", want, got)
		}
	}
	if strings.Contains(got, "container") {
		t.Errorf("a container is blamed, too: %s", got)
	}
}

func TestForbiddenNamesItsCause(t *testing.T) {
	cause := errors.New("operation not permitted")
	if err := forbidden("lab", cause); !errors.Is(err, cause) {
		t.Errorf("%v does not wrap its cause", err)
	}
}
