package test

import (
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestForeignAddressesStayOut sends, from a pod of every class that may change
// its own network, in another pod's name, between two requests in its own: those
// two arrive, since a link takes its own pod's address alone.
func TestForeignAddressesStayOut(t *testing.T) {
	shell(t)
	ns := namespace(t)
	heard, victim := create(t, ns, shellPod(shellImage, "runc")), create(t, ns, shellPod(shellImage, "runc"))
	liars := map[string]*corev1.Pod{}
	for _, class := range classes(t) {
		pod := shellPod(shellImage, class)
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
		liars[class] = create(t, ns, pod)
	}
	heard, victim = running(t, heard), running(t, victim)
	echoes := func() int { // that have arrived
		t.Helper()
		n, err := strconv.Atoi(ask(t, heard, `set -- $(grep '^Icmp: [0-9]' /proc/net/snmp); echo $2`))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	script := strings.NewReplacer("$VICTIM", victim.Status.PodIP, "$HEARD", heard.Status.PodIP)
	for class, liar := range liars {
		liar, before := running(t, liar), echoes()
		said := ask(t, liar, script.Replace(`ip address add $VICTIM/32 dev eth0
			for from in `+liar.Status.PodIP+` $VICTIM `+liar.Status.PodIP+`; do /bin/busybox ping -c 1 -W 1 -I $from $HEARD 2>&1; done; :`))
		if got := echoes() - before; got != 2 || strings.Count(said, "1 packets transmitted") != 3 {
			t.Errorf("%s: %d of 3 requests arrive, want the 2 in the pod's own name: %s", class, got, said)
		}
	}
}
