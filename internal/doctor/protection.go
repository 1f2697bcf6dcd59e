package doctor

import (
	"slices"
	"strings"
)

var protectionChecks = []check{
	{"seccomp", func(h Host) Finding {
		if !strings.Contains(h.read("proc/sys/kernel/seccomp/actions_avail"), "errno") {
			return failed("use a kernel built with CONFIG_SECCOMP_FILTER", "the kernel has no seccomp filters, which every container gets")
		}
		return passed("system calls can be filtered")
	}},
	{"AppArmor/SELinux", func(h Host) Finding {
		active := strings.Split(h.read("sys/kernel/security/lsm"), ",")
		for _, name := range []string{"apparmor", "selinux"} {
			if slices.Contains(active, name) {
				return passed("%s is on", name)
			}
		}
		return warning("boot with security=apparmor or security=selinux; or give untrusted work the class gvisor or microvm",
			"neither is on: plain containers (class runc) lack this layer")
	}},
	{"user namespaces", func(h Host) Finding {
		if limit, ok := h.number("proc/sys/user/max_user_namespaces"); ok && limit == 0 {
			return warning("run: sysctl -w user.max_user_namespaces=10000", "turned off: root in a plain container is root on the machine")
		}
		return h.tried(Users, "root in a plain container can be nobody on the machine",
			"use Linux 6.3 or newer, which can map the owners of files in memory; or give untrusted work the class gvisor or microvm", Warning)
	}},
}
