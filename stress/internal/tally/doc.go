// Package tally counts, by conntrack's counters, what clashes in the namespaces that a run's packets go through.
package tally
