package test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What testdata/pods/users.yaml looks like from inside, whatever its users are
// for the node.
var (
	ofUsers = []question{
		{"root", "id -u; id -g", "0\n0"},
		{"the image is root's", "stat -c %u:%g / /bin/sh", "0:0\n0:0"},
		{"what was made for mounts is root's", "stat -c %u:%g /part", "0:0"},
		{"files change owners", "touch /f && chown 1000:3000 /f && stat -c %u:%g /f && rm /f && echo gone", "1000:3000\ngone"},
		{"device folder", "touch /dev/x && stat -c %u /dev/x && echo x > /dev/null && echo written", "0\nwritten"},
		{"shared memory", "echo z > /dev/shm/z && stat -c %u /dev/shm/z && stat -c %a /dev/shm", "0\n1777"},
		{"volume of the group", "stat -c %u:%g /data", "0:2000"},
		{"file of another user", "stat -c %u:%g /data/mine", "1000:2000"},
		{"part of a volume", "touch /part/deep/x && stat -c %u:%g /part/deep /data/sub/folder/x", "0:2000\n0:2000"},
		{"memory volume", "touch /memory/x && stat -c %u:%g /memory/x", "0:2000"},
		{"secret", "cat /secret/password; echo; stat -Lc %u:%g /secret/password", "swordfish\n0:2000"},
		{"own files of the kernel", "cat /proc/self/environ > /dev/null && stat -c %u /proc/self/fd /proc/1/fd", "0\n0"},
	}
	ofUser = []question{
		{"user and groups", "id -u; id -g; id -G | tr ' ' '\\n' | sort", "1000\n3000\n2000\n3000"},
		{"own output", "echo again > /dev/stdout", "again"},
		{"root's files are kept from it", "touch /bin/x 2>&1 | grep -o denied", "denied"},
	}
	// What a root over the pod alone may not.
	ofOwnUsers = []question{
		{"users", "set -- $(cat /proc/self/uid_map); echo $1 $(($2 > 0)) $3; diff /data/map /proc/self/uid_map && echo same", "0 1 65536\nsame"},
		{"its own mounts", "mkdir -p /m && mount -t tmpfs none /m && touch /m/x && umount /m && echo done", "done"},
		{"devices", "mknod /dev/n c 1 3 2>&1 | grep -o 'not permitted'", "not permitted"},
		{"settings of the kernel", "mount -o remount,bind,rw /proc/sys 2>/dev/null; (cat /proc/sys/kernel/printk > /proc/sys/kernel/printk) 2>/dev/null && echo written || echo kept", "kept"},
	}
	ofNodesUsers = []question{
		{"users", "set -- $(cat /proc/self/uid_map); echo $1 $2 $3", "0 0 4294967295"},
		{"its own mounts", "mkdir -p /m && mount -t tmpfs none /m && touch /m/x && umount /m && echo done", "done"},
		{"devices", "mknod /dev/n c 1 3 && echo > /dev/n && echo made", "made"},
		{"settings of the kernel", "mount -o remount,bind,rw /proc/sys 2>/dev/null; (cat /proc/sys/kernel/printk > /proc/sys/kernel/printk) 2>/dev/null && echo written || echo kept", "written"},
	}
)

// TestUsersOfAPodsOwn has the same pod with users of its own and, as a control,
// without: what it may and finds is the same, but for what only a root over all
// may do.
func TestUsersOfAPodsOwn(t *testing.T) {
	able, err := shared.Cluster.CoreV1().ConfigMaps("redoubt-system").Get(t.Context(), "hardening", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inEveryClass(t, func(t *testing.T, class, ns string) {
		if class == "gvisor" {
			return // it has no such users: TestWhatAClassLacksIsRefused
		}
		for _, test := range []struct {
			hostUsers string
			differs   []question
		}{{"false", ofOwnUsers}, {"true", ofNodesUsers}} {
			if test.hostUsers == "false" && able.Data["userNamespaces"] != "true" {
				t.Logf("no user namespaces for pods here: %s", able.Data["reason"])
				continue
			}
			pod := apply(t, ns, class, "users", "$HOSTUSERS", test.hostUsers)
			askAll(t, pod, "main", append(test.differs, ofUsers...))
			askAll(t, pod, "user", ofUser)
			for container, said := range map[string]string{"main": "first", "user": "second"} {
				if log := shared.Kubectl(t, "-n", ns, "logs", "users", "-c", container); strings.TrimSpace(log) != said {
					t.Errorf("hostUsers: %s: log of %s: %q, want %q", test.hostUsers, container, log, said)
				}
			}
			shared.Kubectl(t, "-n", ns, "delete", "pod", "users")
		}
	})
}
