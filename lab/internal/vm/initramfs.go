package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// taskFile is where the guest's init finds what to do.
const taskFile = "/etc/lab-task.json"

// A task is what the host asks of the guest's init.
type task struct {
	Modules []string `json:"modules"` // files, in the order in which they load
	Command []string `json:"command"`
	Env     []string `json:"env"`
	System  string   `json:"system,omitempty"` // what becomes the first process
}

// plainFiles are what programs of the C library want to see.
var plainFiles = map[string]string{ //nolint:gosec // no password is among them
	"/etc/passwd":    "root:x:0:0:root:/root:/bin/sh\n",
	"/etc/group":     "root:x:0:\n",
	"/etc/hosts":     "127.0.0.1 localhost\n::1 localhost\n",
	"/etc/protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n",
}

// writeInitramfs writes the guest's root.
func writeInitramfs(c *Config, name string) (size int64, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // the errors of writing come before
	archive := newCPIO(f)
	if c.Root != "" {
		if err := archive.userland(c.Root); err != nil {
			return 0, fmt.Errorf("userland: %w", err)
		}
	}
	for _, folder := range []string{"bin", "dev", "etc", "out", "proc", "root", "run", "sbin", "sys", "tmp", "var/tmp",
		"mnt"} {
		archive.folder(folder)
	}
	archive.device("dev/console", 5, 1) // the kernel opens it before init has mounted anything
	for name, text := range plainFiles {
		archive.text(name, []byte(text))
	}
	if err := writeFile(archive, File{Host: c.Init, Guest: c.InitPath}); err != nil {
		return 0, err
	}
	for _, file := range c.Files {
		if err := writeFile(archive, file); err != nil {
			return 0, err
		}
	}
	job := task{Command: c.Command, Env: c.Env, System: c.System}
	if job.Modules, err = writeModules(archive, c); err != nil {
		return 0, err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return 0, err
	}
	archive.text(taskFile, text)
	if err := archive.close(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), f.Close()
}

func writeFile(archive *cpioWriter, file File) error {
	if file.Guest == "" {
		file.Guest = file.Host
	}
	if file.Link != "" {
		archive.link(file.Guest, file.Link)
		return archive.err
	}
	host, err := filepath.EvalSymlinks(file.Host)
	if err != nil {
		return fmt.Errorf("file for the guest: %w", err)
	}
	if info, err := os.Stat(host); err == nil && info.IsDir() {
		return writeFolder(archive, host, file.Guest)
	}
	if err := archive.file(file.Guest, host); err != nil {
		return fmt.Errorf("file for the guest: %w", err)
	}
	needed, err := libraries(host)
	if err != nil {
		return err
	}
	for _, l := range needed {
		if err := archive.file(l.guest, l.host); err != nil {
			return fmt.Errorf("library for the guest: %w", err)
		}
	}
	return archive.err
}

// writeFolder copies the regular files of a folder, without the libraries that they might need.
func writeFolder(archive *cpioWriter, host, guest string) error {
	return filepath.WalkDir(host, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("folder for the guest: %w", err)
		}
		relative, err := filepath.Rel(host, name)
		if err != nil {
			return err
		}
		at := path.Join(guest, relative)
		if d.IsDir() {
			archive.folder(at)
			return archive.err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return archive.file(at, name)
	})
}

func writeModules(archive *cpioWriter, c *Config) ([]string, error) {
	if len(c.ModuleNames)+len(c.LoadableNames) == 0 {
		return nil, nil
	}
	if c.Modules == "" {
		return nil, fmt.Errorf("kernel modules %v: there is no folder to take them from",
			append(c.ModuleNames, c.LoadableNames...))
	}
	tree, err := OpenTree(c.Modules)
	if err != nil {
		return nil, err
	}
	order, err := tree.Order(c.ModuleNames...)
	if err != nil {
		return nil, err
	}
	load, err := tree.writeUnpacked(archive, order)
	if err != nil || len(c.LoadableNames) == 0 {
		return load, err
	}
	if order, err = tree.Order(c.LoadableNames...); err != nil {
		return nil, err
	}
	return load, tree.writeForModprobe(archive, order)
}
