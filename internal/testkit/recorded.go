package testkit

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"
)

// Recorded returns the records of a file: one a line, what it is before the last colon, and
// its bytes in base64 behind. Lines that begin with # say where they come from. They are
// what real programs and kernels have sent, for tests and as the beginning of fuzzing.
func Recorded(t testing.TB, file string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line[strings.LastIndexByte(line, ':')+1:]))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, b)
	}
	if len(list) == 0 {
		t.Fatalf("%s has no records", file)
	}
	return list
}
