package provenance

import (
	"testing"

	"verdictd/internal/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }
