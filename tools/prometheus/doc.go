// Package prometheus exists so that the alerts and the dashboard in configs are held against
// Prometheus itself and against what the daemon exports, without its libraries becoming
// the product's.
package prometheus
