package kbuild

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestWhere(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv(CacheVariable, "")
	if dir, err := Cache(); err != nil || dir != "/home/somebody/.cache/verdictd/kernels" {
		t.Errorf("%s, %v", dir, err)
	}
	t.Setenv(CacheVariable, "/elsewhere")
	if dir, err := Cache(); err != nil || dir != "/elsewhere" {
		t.Errorf("%s, %v", dir, err)
	}
	t.Setenv(CacheVariable, "")
	t.Setenv("HOME", "")
	if dir, err := Cache(); err == nil {
		t.Errorf("%s without a home", dir)
	}
}

// The lock is about descriptors, not processes: this test may take it twice.
func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path, func() { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Lock(ctx, path, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that is taken: %v", err)
	}
	second := make(chan error)
	_, err = Lock(t.Context(), filepath.Join(path, "below a file"), func() {})
	if err == nil {
		t.Error("no error for a lock that cannot be made")
	}
	go func() {
		again, err := Lock(t.Context(), path, func() {
			if err := unlock(); err != nil {
				t.Error(err)
			}
		})
		if err == nil {
			err = again()
		}
		second <- err
	}()
	if err := <-second; err != nil {
		t.Errorf("the lock given back: %v", err)
	}
}
