// Package kubernetes holds the test of configs/kubernetes: each object is of the API's own types, knows no field that
// these do not have, and runs commands and configurations that the programs take.
package kubernetes
