// Package compare tells what changed between result files: those of stress and
// lab, several samples on each side, figure by figure.
//
// It knows little of what is in them. Every number that is not configuration is
// a figure; every entry of a list of runs is a case of its own; everything that
// says where and how a result came about is compared as text. So a new figure
// of a scenario needs no change here, only a line in directions if it is better
// one way than the other.
//
// Samples are not assumed to be normal: medians, the Mann-Whitney U test
// (golang.org/x/perf/benchmath) and, for the change, the confidence interval
// that belongs to that test. With many figures some differ by chance; the
// result says how many are to be expected.
package compare
