// Package report holds what the lab measured and says what it means.
//
// A [Report] is the document that `lab matrix --json` writes: the host, the
// settings and one [Run] per row of the matrix. Scripts rely on its keys, so a
// key is never renamed or given another meaning while [Schema] stays the same.
//
// [Judge] is the only place that decides whether a matrix is good. The text
// table, the HTML page and the exit status all repeat its [Verdict], so they
// cannot disagree. It is a pure function of the data: what a report claims can
// be checked again from the JSON alone.
package report
