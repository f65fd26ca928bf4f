// Package crash is `lab kernel crash`: the crash on a vulnerable kernel, gone with the fix, gone with the guard;
// every row in a virtual machine of its own.
package crash
