// Package summary writes what a person wants to know first of a run: a table of names and figures, on standard output
// where the result file goes elsewhere.
package summary
