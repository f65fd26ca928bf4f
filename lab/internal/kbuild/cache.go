package kbuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// CacheVariable names the folder where the user's cache is not to be used.
const CacheVariable = "VERDICTD_CACHE"

// Cache is the folder in which the lab keeps kernels: $VERDICTD_CACHE, or verdictd/kernels in the user's cache
// folder. It need not be there yet. All that the lab writes but temporary files and what it is asked to write is
// there.
func Cache() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for caches (or set %s): %w", CacheVariable, err)
	}
	return filepath.Join(dir, "verdictd", "kernels"), nil
}

// Lock takes a file's lock, so that two runs do not make the same thing at once. The kernel gives it back when this
// process ends, however it does. Waiting is called once if another process has it.
func Lock(ctx context.Context, path string, waiting func()) (unlock func() error, err error) {
	const often = 200 * time.Millisecond
	lock := flock.New(path, flock.SetPermissions(0o644))
	taken, err := lock.TryLock()
	if err == nil && !taken {
		waiting()
		_, err = lock.TryLockContext(ctx, often)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return nil, fmt.Errorf("take the lock %s: %w", path, err)
	}
	return lock.Close, nil
}
