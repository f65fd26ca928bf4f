// Package debian fetches kernels that Debian built, with their modules, for
// virtual machines. Nothing is installed: the package is unpacked into the cache.
//
// # How
//
// apt-get does the fetching, as it checks signatures and knows the machine's
// proxies. Its lists, its sources and its cache are private ones: no root is
// needed, the machine's own lists stay as they are, and suites can be had that the
// machine does not use. dpkg-deb unpacks, and depmod indexes the modules, which
// the package leaves to its installation.
//
// # The cache
//
//	debian/SUITE.json                what the suite's kernel was, and when that was asked
//	debian/PACKAGE_VERSION/          boot/vmlinuz-RELEASE and the like, lib/modules/RELEASE
//
// A kernel appears there by one rename. A suite is asked for its newest kernel once
// a day; without a network the one that is known serves.
package debian
