// Package documents holds the tests of what README.md and docs tell people to type: each command is run as it stands,
// or its remark says what it needs, in words of a closed list.
package documents
