package doctor

// program is something of the distribution that Redoubt runs.
type program struct {
	name    string
	pkg     string // Debian's and Ubuntu's package
	purpose string
	level   Level // of its absence
}

var programs = []program{
	{"nft", "nftables", "the network of instances and the rules of services", Failed},
	{"mount", "mount", "the volumes of pods", Failed},
	{"modprobe", "kmod", "loading kernel modules when they are needed", Warning},
	{"mmdebstrap", "mmdebstrap", "building images from Debian packages, which the function runtimes are", Warning},
	{"qemu-system-x86_64", "qemu-system-x86", "virtual machines, the class microvm", Warning},
	{"mkfs.erofs", "erofs-utils", "the layers of images as disks, the class microvm", Warning},
	{"curl", "curl", "the requests that the demo shows", Warning},
	{"go", "golang-go", "building images from Go programs", Warning},
}

var programChecks = makeProgramChecks()

func makeProgramChecks() []check {
	checks := make([]check, len(programs))
	for i, p := range programs {
		checks[i] = check{p.name, p.judge}
	}
	return checks
}

func (p program) judge(h Host) Finding {
	if h.Programs[p.name] {
		return passed("for %s", p.purpose)
	}
	return Finding{Level: p.level, Detail: "not found; it is needed for " + p.purpose, Remedy: "apt-get install " + p.pkg}
}
