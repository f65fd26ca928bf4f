// Package childtest starts the verdictd that people run as a child of a test, so that tests of the whole program
// need no process of their own to break.
//
// The program is built once for a test process. A child lives in a network namespace, writes its log into the test's,
// and is gone when the test ends. VERDICTD_TEST_PROGRAM names a program that is built already, for a machine without
// go.
package childtest
