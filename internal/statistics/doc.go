// Package statistics exists so that what verdictd counts is listed once: its workers
// count into these types, verdictd writes them as one JSON document when it stops,
// and who reads that document has the same types.
//
// Sums, the document, its schema (docs/schema/verdictd-statistics.json) and the check
// of a document that is read follow from the fields: a counter is added in one place.
//
// Counters are plain numbers without a lock, which belong to the thread that counts.
// Others read them through its [Window], while it runs.
package statistics
