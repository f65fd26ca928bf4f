// Package recorded reads what real programs and kernels have sent, for tests and as the
// beginning of fuzzing. It is apart from testkit so that those whose packages testkit
// uses can have it.
package recorded
