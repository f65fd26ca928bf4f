// Package schematest makes JSON schemas of the types that are written as documents, and holds the files in docs/schema and
// real documents against them. The types' comments become descriptions.
//
// A schema file that is not what the types say is written by the test that found it, with -update.
package schematest
