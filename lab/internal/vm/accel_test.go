package vm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAccelerators(t *testing.T) {
	tried := []accelerator{
		{name: "kvm", args: []string{"kvm"}, within: time.Minute},
		{name: "tcg", args: []string{"tcg"}, within: time.Minute},
	}
	for _, test := range []struct {
		name, kvm, tcg string
		works          string // "" for none
		reason         string // part of the first one's
	}{
		{"both work", "printf ok; exit 33", "exit 1", "kvm", "works"},
		{"no KVM", "echo 'qemu-system-x86_64: Could not access KVM' >&2; exit 1", "printf ok; exit 33", "tcg",
			"Could not access KVM"},
		{"KVM hangs", "exec /bin/sleep 1000", "printf ok; exit 33", "tcg", "within 1s"},
		{"KVM dies", "kill -ABRT $$", "printf ok; exit 33", "tcg", "signal: aborted"},
		{"KVM is silent", "exit 33", "printf ok; exit 33", "tcg", "exit status 33"},
		{"KVM ends", "printf ok", "printf ok; exit 33", "tcg", "ended without having run"},
		{"none", "exit 1", "exit 1", "", "exit status 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakeQEMU(t, "for last; do :; done\nif test $last = kvm; then\n"+test.kvm+"\nelse\n"+test.tcg+"\nfi\n")
			qemu, err := FindQEMU()
			if err != nil {
				t.Fatal(err)
			}
			tried[0].within = time.Minute
			if strings.Contains(test.kvm, "sleep") {
				tried[0].within = time.Second
			}
			done, err := tryAll(t.Context(), qemu, tried)
			if err != nil {
				t.Fatal(err)
			}
			works := ""
			for _, d := range done {
				if d.Works {
					works = d.Accelerator
				}
			}
			if works != test.works || !strings.Contains(done[0].Reason, test.reason) {
				t.Errorf("%q works, want %q; %+v, want the reason %q", works, test.works, done, test.reason)
			}
		})
	}
}

func TestAcceleratorsTriedOnce(t *testing.T) {
	fakeQEMU(t, "echo tried >>$0.log\nprintf ok; exit 33\n")
	for range 2 {
		done, err := TryAccelerators(t.Context())
		if err != nil || len(done) != 1 || !done[0].Works {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	qemu, err := FindQEMU()
	if err != nil {
		t.Fatal(err)
	}
	if text := readText(t, qemu+".log"); text != "tried\n" {
		t.Errorf("%q: want it tried once", text)
	}
	if _, err := choose(t.Context(), "xen"); err == nil {
		t.Error("an accelerator that does not exist is chosen")
	}
}

func TestTrialCancelled(t *testing.T) {
	fakeQEMU(t, "exec /bin/sleep 1000")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := TryAccelerators(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
}

func TestNoQEMU(t *testing.T) {
	fakeQEMU(t, "")
	_, err := Run(t.Context(), Config{})
	if !errors.Is(err, ErrNoQEMU) || !strings.Contains(err.Error(), "apt-get install qemu-system-x86") {
		t.Errorf("%v: want it to say how to get QEMU", err)
	}
}
