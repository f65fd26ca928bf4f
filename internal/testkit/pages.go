package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// KeepPage puts a page into the folder that VERDICTD_PAGES names, where a browser's check finds it (make pages-check).
func KeepPage(t *testing.T, name string, page []byte) {
	t.Helper()
	folder := os.Getenv("VERDICTD_PAGES")
	if folder == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(folder, name), page, 0o644); err != nil { //nolint:gosec // a browser of another user reads it
		t.Fatal(err)
	}
}
