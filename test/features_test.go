package test

import (
	"strings"
	"testing"
)

// What testdata/pods/features.yaml asks for, as it is to look from inside, in
// every class alike.
var (
	features = []question{
		{"order of init containers and sidecars", "cat /data/order", "first\nside\nsecond"},
		{"user and groups", "id -u; id -g; id -G | tr ' ' '\\n' | sort", "1000\n3000\n2000\n3000\n4000"},
		{"working folder", "pwd", "/data"},
		{"variable made of another", "echo $GREETING", "hello world"},
		{"variable from a secret", "echo $PASSWORD", "swordfish"},
		{"variables from a ConfigMap", "echo $COLOUR $SHAPE", "blue round"},
		{"downward API: name", "echo $POD", "features"},
		{"downward API: address", "ip -4 -o addr show eth0 | grep -c \" $POD_IP/\"", "1"},
		{"downward API: limit", "echo $LIMIT", "100663296"},
		{"downward API: labels", "cat /podinfo/labels; echo; cat /podinfo/note", "app=\"features\"\ntier=\"test\"\nkept"},
		{"volume of the group", "stat -c '%g' /data", "2000"},
		{"no capabilities", "grep CapBnd /proc/self/status; grep CapEff /proc/self/status", "CapBnd:\t0000000000000000\nCapEff:\t0000000000000000"},
		{"no new privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"},
		{"memory volume", "echo x > /memory/x && cat /memory/x", "x"},
		{"memory volume's size", "dd if=/dev/zero of=/memory/big bs=1M count=16 2>&1 | grep -o 'No space left on device'; rm -f /memory/big", "No space left on device"},
		{"ConfigMap", "cat /settings/COLOUR; echo; cat /one/shape", "blue\nround"},
		{"part of a volume", "echo y > /nested/y; cat /data/features/y", "y"},
		{"secret", "cat /secret/password; echo; stat -Lc %a:%u:%g /secret/password", "swordfish\n440:0:2000"},
		{"secret is read-only", "touch /secret/x", "touch: /secret/x: Read-only file system"},
		{"projected volume", "cat /all/deep/colour; echo; cat /all/password; echo; wc -c < /all/token | grep -c '[0-9][0-9][0-9]'", "blue\nswordfish\n1"},
		{"account", "cut -d. -f1 /var/run/secrets/kubernetes.io/serviceaccount/token | wc -l; ls /var/run/secrets/kubernetes.io/serviceaccount", "1\nca.crt\nnamespace\ntoken"},
		{"host name", "hostname; cat /proc/sys/kernel/hostname", "box\nbox"},
		{"host's own entry", "grep -c \"$POD_IP.*box.boxes\" /etc/hosts", "1"},
		{"host alias", "grep elsewhere /etc/hosts | tr '\\t' ' '", "192.0.2.7 elsewhere.example"},
		{"DNS settings", "grep -c 'search .*more.example' /etc/resolv.conf; grep -o ndots:3 /etc/resolv.conf", "1\nndots:3"},
		{"sysctl", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "80"},
		{"memory limit", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes", "100663296"},
		{"processor limit", "cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us)", "20000 100000"},
		{"shared memory", "echo z > /dev/shm/z; cat /dev/shm/z; grep ' /dev/shm ' /proc/mounts | cut -d' ' -f3", "z\ntmpfs"},
		{"standard devices", "ls -d /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; echo x > /dev/null && echo written", "/dev/full\n/dev/null\n/dev/random\n/dev/tty\n/dev/urandom\n/dev/zero\nwritten"},
		{"own processes only", "ls -d /proc/[0-9]* | wc -l | grep -c '^[1-9]$'; tr '\\0' ' ' < /proc/1/cmdline", "1\nsleep 3600"},
	}
	ofRoot = []question{
		{"read-only root", "touch /file", "touch: /file: Read-only file system"},
		{"capabilities", "grep CapBnd /proc/self/status; grep CapEff /proc/self/status", "CapBnd:\t0000000000002001\nCapEff:\t0000000000002001"},
		{"the capability it has", "touch /data/mine && chown 7:7 /data/mine && stat -c %u /data/mine", "7"},
		{"one that it has not", "mkdir /data/m; mount -t tmpfs none /data/m 2>&1 | grep -c denied", "1"},
		{"volume mounted read-only", "touch /readonly/x", "touch: /readonly/x: Read-only file system"},
		{"the pod's volume", "head -n 1 /data/order", "first"},
	}
)

// otherwise is what a class answers that cannot do what is asked, by question.
var otherwise = map[string]map[string]string{
	"gvisor": {
		// gVisor's kernel lets every user bind every port and has no such
		// setting. Those that it has cannot be set from outside.
		"sysctl": "cat: can't open '/proc/sys/net/ipv4/ip_unprivileged_port_start': No such file or directory",
	},
}

func TestFeaturesInEveryClass(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		pod := apply(t, ns, class, "features")
		askAll(t, pod, "main", features)
		askAll(t, pod, "root", ofRoot)
		if log := shared.Kubectl(t, "-n", ns, "logs", "features", "-c", "main"); strings.TrimSpace(log) != "started hello world" {
			t.Errorf("log: %q", log)
		}
	})
}
