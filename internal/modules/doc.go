// Package modules has the kernel load what a program needs, one part at a time, before the program's threads ask for it
// at once: up to kmod 19 (CentOS 7) the modprobe that came second could fail while the first was still at work.
package modules
