package doctor

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

var machineChecks = []check{
	{"root", func(h Host) Finding {
		if h.User != 0 {
			return failed("run it with sudo", "user %d is not root, who alone can make namespaces, mounts and control groups", h.User)
		}
		return passed("running as root")
	}},
	{"capabilities", capabilities},
	{"memory killer", func(h Host) Finding {
		if !h.can(unix.CAP_SYS_RESOURCE) {
			return warning("in a container: add the capability SYS_RESOURCE",
				"without CAP_SYS_RESOURCE the kernel cannot be told to spare the control plane when memory runs out")
		}
		return passed("the control plane can be protected from it")
	}},
	{"engine", func(h Host) Finding {
		if len(h.EngineMissing) > 0 {
			return failed("build it with: make engine", "%s has no %s", h.EngineDir, strings.Join(h.EngineMissing, ", "))
		}
		return passed("built, in %s", h.EngineDir)
	}},
}

// required are the capabilities that the platform uses itself, and those that
// an ordinary container has and its runtime must have to give.
var required = []struct {
	bit  int
	name string
}{
	{unix.CAP_CHOWN, "CHOWN"},
	{unix.CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
	{unix.CAP_FOWNER, "FOWNER"},
	{unix.CAP_FSETID, "FSETID"},
	{unix.CAP_KILL, "KILL"},
	{unix.CAP_SETGID, "SETGID"},
	{unix.CAP_SETUID, "SETUID"},
	{unix.CAP_SETPCAP, "SETPCAP"},
	{unix.CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE"},
	{unix.CAP_NET_ADMIN, "NET_ADMIN"},
	{unix.CAP_NET_RAW, "NET_RAW"},
	{unix.CAP_SYS_CHROOT, "SYS_CHROOT"},
	{unix.CAP_SYS_PTRACE, "SYS_PTRACE"},
	{unix.CAP_SYS_ADMIN, "SYS_ADMIN"},
	{unix.CAP_MKNOD, "MKNOD"},
	{unix.CAP_AUDIT_WRITE, "AUDIT_WRITE"},
	{unix.CAP_SETFCAP, "SETFCAP"},
}

func capabilities(h Host) Finding {
	var missing []string
	for _, c := range required {
		if !h.can(c.bit) {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		remedy := "in a container: start it privileged, or with these capabilities added"
		if h.User != 0 {
			remedy = "run it with sudo"
		}
		return failed(remedy, "missing: %s", strings.Join(missing, ", "))
	}
	return passed("all %d that are needed", len(required))
}

// oldest is the first kernel whose nftables have what kube-proxy's rules use
// (KEP-3866).
var oldest = [2]int{5, 13}

func release(h Host) Finding {
	text := h.read("proc/sys/kernel/osrelease")
	var major, minor int
	if _, err := fmt.Sscanf(text, "%d.%d", &major, &minor); err != nil {
		return warning("see that /proc is mounted", "the kernel says its release is %q", text)
	}
	if major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		return failed(fmt.Sprintf("install a kernel of at least %d.%d", oldest[0], oldest[1]), "%s is too old for the rules of services", text)
	}
	return passed("%s", text)
}
