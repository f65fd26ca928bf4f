// Package vocabulary exists so that every word of the configuration and of the reports,
// and every limit that several packages keep, is defined once.
//
// The words are plain strings in files and on command lines. A type with a fixed set
// of them lists it (Values), and [Check] refuses others.
package vocabulary
