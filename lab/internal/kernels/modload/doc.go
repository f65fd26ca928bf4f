// Package modload is `lab kernel modload`: how modules fail to load for parallel threads, with today's modprobe and
// with an old one's race.
package modload
