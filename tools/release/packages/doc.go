// Package packages holds the tests of what `make package` makes, which reads packaging/: what is in the packages, that
// the same source makes the same bytes, and that the links of the installed documents lead.
package packages
