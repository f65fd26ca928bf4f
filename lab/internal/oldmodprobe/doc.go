// Package oldmodprobe is a modprobe with the race of kmod up to 19, for virtual
// machines of the lab: programs of today load modules without it, and a machine
// that shows it is not at hand.
//
// That kmod asked /sys/module/NAME/initstate how a module is. Where there was no
// such file, but the folder /sys/module/NAME, it took the module for a part of the
// kernel (kmod_module_get_initstate returned KMOD_MODULE_BUILTIN) and was done. But
// the kernel makes the folder a moment before the file: a module that another
// modprobe is just loading looks the same. fd44a98ae2eb of kmod (version 20, 2015)
// looks built-in modules up in their index instead.
//
// All else is only as much of modprobe as the kernel needs: modprobe -q -- ALIAS.
package oldmodprobe
