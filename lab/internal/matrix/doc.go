// Package matrix is `lab matrix`: what packets meet in each placement of the queue rule, under each guard, fan-out,
// NAT, program and family.
//
// The plan is rows, each a value for every dimension; [Config].Only chooses among them or asks for others. An
// experiment is one row in fresh namespaces. Package report has the document that comes of it and judges it.
package matrix
