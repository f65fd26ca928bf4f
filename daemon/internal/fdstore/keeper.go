package fdstore

import (
	"os"
	"strconv"
)

// keeper is what Received has unset by the time that somebody asks.
var keeper = os.Getenv(variableKeeper)

// Kept reports whether this process's parent is a Server that started it.
func Kept() bool { return keeper != "" && keeper == strconv.Itoa(os.Getppid()) }
