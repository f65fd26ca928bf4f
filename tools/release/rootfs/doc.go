// Command rootfs writes the root file system of a container's image as a tarball, and the image itself as a tarball of
// an OCI layout, without a container engine. The same input makes the same bytes.
//
// There is nothing in it but the programs, a user database and empty folders: the programs are static, and ask no name
// server. The image's entrypoint keeps the queues' descriptors while the daemon restarts (verdictd supervise).
package main
