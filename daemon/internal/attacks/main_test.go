package attacks

import (
	"testing"

	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
