package doctor

import (
	"bufio"
	"strings"
)

var kernelChecks = []check{
	{"release", release},
	{"namespaces", namespaces},
	{"overlayfs", func(h Host) Finding {
		return h.tried(Overlay, "mounts in "+h.DataDir,
			"load the module (modprobe overlay), or choose a data folder on ext4 or XFS with --data-dir", Failed)
	}},
	{"virtual links", func(h Host) Finding {
		return h.tried(Links, "network namespaces and veth links can be made", "load the module: modprobe veth", Failed)
	}},
	{"packet filter", func(h Host) Finding {
		return h.tried(Rules, "nf_tables takes the rules that services need",
			"install nftables and load the modules: modprobe -a nf_tables nft_chain_nat nft_masq nft_reject_inet nft_numgen nft_fib_ipv4", Failed)
	}},
	{"network cards", func(h Host) Finding {
		return h.tried(Tap, "virtual network cards can be made for virtual machines",
			"load the module: modprobe tun; without it the class microvm has no network", Warning)
	}},
	{"forwarding", forwarding},
	{"EROFS", func(h Host) Finding {
		if h.hasFileSystem("erofs") {
			return passed("image layers can be mounted read-only as they are")
		}
		return warning("use a kernel with CONFIG_EROFS_FS, as Debian's and Ubuntu's have", "not in this kernel: there is no class microvm without it")
	}},
}

func namespaces(h Host) Finding {
	var missing []string
	for _, name := range []string{"mnt", "net", "pid", "ipc", "uts", "cgroup"} {
		if !h.exists("proc/self/ns/" + name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return failed("use a kernel built with CONFIG_NAMESPACES and all kinds of them", "the kernel has none for: %s", strings.Join(missing, ", "))
	}
	return passed("mount, network, process, IPC, host name, control group")
}

func forwarding(h Host) Finding {
	if v, ok := h.number("proc/sys/net/ipv4/ip_forward"); ok && v == 1 {
		return passed("on")
	}
	if h.User == 0 && !h.readOnly("/proc/sys") {
		return passed("off; booting an instance turns it on, and off again at its end")
	}
	return failed("run: sysctl -w net.ipv4.ip_forward=1", "off, and it cannot be turned on from here")
}

// hasFileSystem says whether the kernel has it, or a module for it.
func (h Host) hasFileSystem(name string) bool {
	for line := range strings.Lines(h.read("proc/filesystems")) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == name {
			return true
		}
	}
	modules := h.read("lib/modules/" + h.read("proc/sys/kernel/osrelease") + "/modules.dep")
	return strings.Contains(modules, "/"+name+".ko")
}

// readOnly says whether the mount at path is read-only.
func (h Host) readOnly(path string) bool {
	for lines := bufio.NewScanner(strings.NewReader(h.read("proc/self/mounts"))); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 3 && fields[1] == path {
			return strings.HasPrefix(fields[3], "ro")
		}
	}
	return false
}
