// Package testkit runs tests against the real kernel, each in network
// namespaces of its own, as root and as an ordinary user.
//
// A package that uses it declares
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
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
//
// It also makes JSON schemas of the types that are written as documents, and holds the files in docs/schema and real
// documents against them. The types' comments become descriptions. A schema file that is not what the types say is
// written by the test that found it, with -update.
package testkit
