// Package bench is what the comparisons of `lab bench` share: rounds in which every candidate has its turn, CPU
// time by thread, medians, ratios with their bounds, and the verdict.
//
// Each comparison is a package below. Its document begins with a [Head] and ends with a [Judgement]. What slows the
// machine down slows all candidates, as they take turns; what is compared is medians.
package bench
