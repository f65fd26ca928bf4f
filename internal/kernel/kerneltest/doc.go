// Package kerneltest runs tests against the real kernel, each in network
// namespaces of its own, as root and as an ordinary user.
//
// A package that uses it declares
//
//	func TestMain(m *testing.M) { kerneltest.Main(m) }
//
// Where the user may not make network namespaces, Main runs the tests as root
// of a user namespace. Where the machine forbids even that, tests that ask for
// a [Namespace] are skipped with the reason, or fail if VERDICTD_REQUIRE_KERNEL
// is 1: continuous integration sets it, so that a skip cannot pass for a
// success.
//
// A namespace is a property of a thread: subtests and goroutines of a test run
// on other threads, outside. A subtest asks for a namespace of its own or uses
// Do of its parent's.
package kerneltest
