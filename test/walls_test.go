package test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/test/platform"
)

// answering starts a pod that answers requests with its name.
func answering(t *testing.T, ns, name, class string) {
	t.Helper()
	shell(t)
	text, err := os.ReadFile(filepath.Join("testdata", "pods", "walls.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := strings.NewReplacer("$CLASS", class, "$IMAGE", shellImage, "$NAME", name).Replace(string(text))
	if _, err := shared.Try(t, manifest, "kubectl", "-n", ns, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// answers waits for a pod of answering.
func answers(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/"+name)
	return look(t, ns, name)
}

// knock defines the shell function knock, which says whether anything takes a
// connection at an address.
const knock = `knock() { nc -w 3 "${1%:*}" "${1#*:}" </dev/null >/dev/null 2>&1 && echo "$1 open" || echo "$1 closed"; }
`

// reached are those of addresses that a pod reaches.
func reached(t *testing.T, pod *corev1.Pod, addresses []string) ([]string, error) {
	script := knock
	for _, address := range addresses {
		script += "knock " + address + "\n"
	}
	out, err := shared.Try(t, "", "kubectl", "-n", pod.Namespace, "exec", pod.Name, "--", "/bin/sh", "-c", script)
	if err != nil || strings.Count(out, "\n") != len(addresses) {
		return nil, fmt.Errorf("%s: %q: %w", pod.Name, out, err)
	}
	var open []string
	for line := range strings.Lines(out) {
		if address, ok := strings.CutSuffix(strings.TrimSpace(line), " open"); ok {
			open = append(open, address)
		}
	}
	return open, nil
}

// neighbours are pods that answer, by name.
type neighbours map[string]*corev1.Pod

// way is from one of them to a port of one of them.
type way struct{ from, to, port string }

// open tries every way between neighbours.
func (n neighbours) open(t *testing.T) (map[way]bool, error) {
	byAddress := map[string]way{}
	for to, pod := range n {
		for _, port := range []string{"8080", "8081"} {
			byAddress[pod.Status.PodIP+":"+port] = way{to: to, port: port}
		}
	}
	addresses := slices.Sorted(maps.Keys(byAddress))
	var mu sync.Mutex
	var tries sync.WaitGroup
	all, failure := map[way]bool{}, error(nil)
	for from, pod := range n {
		tries.Go(func() {
			open, err := reached(t, pod, addresses)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = err
			}
			for _, address := range addresses {
				w := byAddress[address]
				w.from = from
				all[w] = slices.Contains(open, address)
			}
		})
	}
	tries.Wait()
	return all, failure
}

// become waits until the ways that are open are those that are wanted.
func (n neighbours) become(t *testing.T, what string, want func(way) bool) {
	t.Helper()
	platform.Eventually(t, what, func() error {
		all, err := n.open(t)
		if err != nil {
			return err
		}
		for w, open := range all {
			if wanted := w.from == w.to || want(w); open != wanted {
				err = fmt.Errorf("from %s to %s:%s is open: %t, want %t", w.from, w.to, w.port, open, wanted)
			}
		}
		return err
	})
}

// firstAct starts a pod whose first act is to try an address, again and again,
// and says whether it was ever open to it.
func firstAct(t *testing.T, ns, class, address string) bool {
	t.Helper()
	pod := shellPod(shellImage, class)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", knock + "for i in 1 2 3 4 5 6 7 8 9 10; do knock " + address + "; done"}
	pod = create(t, ns, pod)
	platform.Eventually(t, "the pod's first act", func() error {
		if now := look(t, ns, pod.Name); now.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("it is %s", now.Status.Phase)
		}
		return nil
	})
	out := shared.Kubectl(t, "-n", ns, "logs", pod.Name)
	if strings.Count(out, "\n") != 10 {
		t.Fatalf("it says %q", out)
	}
	return strings.Contains(out, "open")
}

// TestNetworkPolicies tries policies on pods of every class, with pods of every
// class and one of another namespace before them.
func TestNetworkPolicies(t *testing.T) {
	home, away, all := namespace(t), namespace(t), classes(t)
	for _, class := range all {
		answering(t, home, class, class)
	}
	answering(t, away, "away", "runc")
	pods := neighbours{"away": answers(t, away, "away")}
	for _, class := range all {
		pods[class] = answers(t, home, class)
	}
	guest := func(w way) bool { return w.to == "away" }
	for _, step := range []struct {
		name, spec string
		want       func(way) bool
	}{
		{"no policy", "", func(way) bool { return true }},
		{"deny ingress", `{podSelector: {}}`, guest},
		{"one class alone", `{podSelector: {matchLabels: {class: gvisor}}}`, func(w way) bool { return w.to != "gvisor" }},
		{"from a class", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {class: gvisor}}}]}]}`, func(w way) bool { return guest(w) || w.from == "gvisor" }},
		{"from a namespace", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $AWAY}}}]}]}`,
			func(w way) bool { return guest(w) || w.from == "away" }},
		{"from pods that a namespace has not", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $AWAY}}, podSelector: {matchLabels: {class: gvisor}}}]}]}`, guest},
		{"from a block", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: $RANGE, except: [$ADDRESS/32]}}]}]}`, func(w way) bool { return guest(w) || w.from != "away" }},
		{"a port", `{podSelector: {}, ingress: [{ports: [{port: 8081}]}]}`, func(w way) bool { return guest(w) || w.port == "8081" }},
		{"a named port", `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`, func(w way) bool { return guest(w) || w.port == "8080" }},
		{"ports from to", `{podSelector: {}, ingress: [{ports: [{port: 8081, endPort: 9000}]}]}`, func(w way) bool { return guest(w) || w.port == "8081" }},
		{"egress to a named port of a namespace", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $AWAY}}}], ports: [{port: http}]}]}`,
			func(w way) bool { return w.from == "away" || guest(w) && w.port == "8080" }},
		{"deny egress", `{podSelector: {}, policyTypes: [Egress]}`, func(w way) bool { return w.from == "away" }},
	} {
		if step.spec != "" {
			spec := strings.NewReplacer("$AWAY", away, "$RANGE", shared.State.PodRange.String(), "$ADDRESS", pods["away"].Status.PodIP).Replace(step.spec)
			shared.Apply(t, fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: %s}, spec: %s}", home, spec))
		}
		pods.become(t, step.name, step.want)
		for name, pod := range pods {
			if answer, err := get(pod.Status.PodIP + ":8080"); answer != name || err != nil {
				t.Errorf("%s: from the node to %s: %q, %v", step.name, name, answer, err)
			}
		}
	}
	t.Run("from the first moment", func(t *testing.T) { firstActs(t, home, away, pods["away"].Status.PodIP+":8080") })
	t.Run("names", func(t *testing.T) { names(t, home, pods) })
	shared.Kubectl(t, "-n", home, "delete", "networkpolicy", "p")
	pods.become(t, "no policy any more", func(way) bool { return true })
	for name, pod := range pods {
		if now := look(t, pod.Namespace, name); now.Status.ContainerStatuses[0].RestartCount > 0 || !now.Status.ContainerStatuses[0].Ready {
			t.Errorf("%s does not answer the kubelet: %+v", name, now.Status.ContainerStatuses)
		}
	}
}

// firstActs starts pods where egress is denied, and where it is not.
func firstActs(t *testing.T, denied, open, address string) {
	for _, class := range classes(t) {
		if firstAct(t, denied, class, address) {
			t.Errorf("%s: a pod was let through before its policy", class)
		}
	}
	if !firstAct(t, open, "runc", address) {
		t.Error("a pod without a policy was never let through")
	}
}

// names lets pods that may send nothing ask the cluster's name server, by the
// labels that it has on other clusters.
func names(t *testing.T, home string, pods neighbours) {
	resolve := func(class string) string {
		return ask(t, pods[class], "nslookup kubernetes.default.svc.cluster.local 2>&1 | grep -c 'Address: 198.19.0.1$' || :")
	}
	if got := resolve("runc"); got != "0" { // which takes the time that a name server is given
		t.Errorf("%s names are resolved where nothing may be sent", got)
	}
	defer shared.Kubectl(t, "-n", home, "delete", "networkpolicy", "dns", "--ignore-not-found")
	shared.Apply(t, fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: dns, namespace: %s}, spec: {podSelector: {}, policyTypes: [Egress],
  egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}, {port: 53}]}]}}`, home))
	for _, class := range classes(t) {
		platform.Eventually(t, class+" resolves a name", func() error {
			if got := resolve(class); got != "1" {
				return fmt.Errorf("%s names are resolved", got)
			}
			return nil
		})
	}
}

// outside joins a network to the instance's, as the machine's own is, and
// answers there. It returns the address.
func outside(t *testing.T) string {
	t.Helper()
	const name = "redoubt-test-outside"
	instance := shared.Inst.ID()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	_ = exec.Command("ip", "netns", "delete", name).Run() // of a test that was killed
	run("netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() }) // its link goes with it
	run("link", "add", "outside", "netns", instance, "type", "veth", "peer", "name", "eth0", "netns", name)
	run("-n", instance, "address", "add", "203.0.113.1/30", "dev", "outside")
	run("-n", instance, "link", "set", "outside", "up")
	run("-n", name, "address", "add", "203.0.113.2/30", "dev", "eth0")
	run("-n", name, "link", "set", "eth0", "up")
	run("-n", name, "route", "add", "default", "via", "203.0.113.1")
	listen(t, "/run/netns/"+name, "203.0.113.2:80")
	return "203.0.113.2:80"
}

// metadata answers where clouds do, with the machine's credentials.
func metadata(t *testing.T) string {
	t.Helper()
	instance := shared.Inst.ID()
	const address = "169.254.169.254"
	if out, err := exec.Command("ip", "-n", instance, "address", "add", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "-n", instance, "address", "delete", address+"/32", "dev", "lo").Run() })
	listen(t, shared.Inst.NetNS(), address+":80")
	return address + ":80"
}

func listen(t *testing.T, ns, address string) {
	t.Helper()
	l, err := netns.Listen(ns, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

// TestTenantsAreWalled tries, from a tenant's pods of every class, what the
// tenant is to reach and what not, and all of it from a pod of the platform.
func TestTenantsAreWalled(t *testing.T) {
	const own, rival = "tenant-walled", "tenant-rival"
	all := classes(t)
	for _, name := range []string{own, rival} {
		newTenant(t, name, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"})
		// A tenant may allow in his namespace what he wants.
		shared.Apply(t, fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: all, namespace: %s}, spec: {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}}`, name))
	}
	second, home := namespace(t), namespace(t)
	shared.Kubectl(t, "label", "namespace", second, redoubt.TenantLabel+"="+own)
	settledIn(t, own, second)
	for _, class := range all {
		answering(t, own, class, class)
	}
	answering(t, second, "second", "runc")
	answering(t, rival, "rival", "runc")
	answering(t, home, "platform", "runc")
	shared.Apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: %s}, spec: {type: NodePort, selector: {app: walls}, ports: [{port: 80, targetPort: http}]}}`, rival))
	service, err := shared.Cluster.CoreV1().Services(rival).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other, platformPod := answers(t, rival, "rival"), answers(t, home, "platform")
	node := platformPod.Status.HostIP
	closed := []string{
		other.Status.PodIP + ":8080", service.Spec.ClusterIP + ":80", fmt.Sprintf("%s:%d", node, service.Spec.Ports[0].NodePort), platformPod.Status.PodIP + ":8080",
		node + ":6443", node + ":10250", node + ":53", "198.18.0.1:6443", metadata(t),
	}
	allowed := []string{answers(t, second, "second").Status.PodIP + ":8080", "198.19.0.1:443", "198.19.0.10:53", outside(t)}
	for _, class := range all {
		allowed = append(allowed, answers(t, own, class).Status.PodIP+":8080")
	}
	everything := slices.Concat(closed, allowed)
	become := func(pod *corev1.Pod, want []string) {
		t.Helper()
		platform.Eventually(t, pod.Namespace+"/"+pod.Name, func() error {
			open, err := reached(t, pod, everything)
			if err == nil && !slices.Equal(open, want) {
				err = fmt.Errorf("open are %s, want %s", open, want)
			}
			return err
		})
	}
	become(platformPod, everything)
	for _, class := range all {
		become(look(t, own, class), allowed)
		if got := ask(t, look(t, own, class), "nslookup kubernetes.default.svc.cluster.local 2>&1 | grep -c 'Address: 198.19.0.1$' || :"); got != "1" {
			t.Errorf("%s: %s names are resolved", class, got)
		}
		if answer, err := get(look(t, own, class).Status.PodIP + ":8080"); answer != class || err != nil {
			t.Errorf("from the node to %s: %q, %v", class, answer, err)
		}
	}
	t.Run("services", func(t *testing.T) { tenantsServices(t, own, rival, platformPod) })
	// What is let go is walled no more, and the tenant reaches it no more.
	shared.Kubectl(t, "label", "namespace", second, redoubt.TenantLabel+"-")
	become(look(t, second, "second"), everything)
	become(look(t, own, "runc"), slices.DeleteFunc(slices.Clone(allowed), func(a string) bool { return a == allowed[0] }))
}

// tenantsServices asks the gateway, from pods of a tenant and of the platform,
// for services of that tenant and of another.
func tenantsServices(t *testing.T, own, rival string, platformPod *corev1.Pod) {
	for _, ns := range []string{own, rival} {
		shared.Apply(t, fmt.Sprintf(`{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: hello, namespace: %s}, spec: {template: {spec: {containers: [{
  image: %s, imagePullPolicy: Never, command: [httpd, -f, -p, "8080", -h, /bin], ports: [{containerPort: 8080}],
  securityContext: {runAsNonRoot: true, runAsUser: 1000, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]}}}}`, ns, shellImage))
	}
	for _, ns := range []string{own, rival} {
		shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "services.serving.knative.dev/hello")
	}
	for _, client := range []struct {
		pod  *corev1.Pod
		want map[string]string // status by tenant
	}{
		{look(t, own, "runc"), map[string]string{own: "200", rival: "403"}},
		{look(t, own, "gvisor"), map[string]string{own: "200", rival: "403"}},
		{look(t, rival, "rival"), map[string]string{own: "403", rival: "200"}},
		{platformPod, map[string]string{own: "200", rival: "200"}},
	} {
		var questions []question
		// Who asks stays: one that has no more to say counts as gone when the
		// answer takes long.
		for to, want := range client.want {
			host := "hello." + to + ".svc.cluster.local"
			for _, address := range []string{host, platformPod.Status.HostIP} {
				questions = append(questions, question{"status of " + host + " at " + address,
					fmt.Sprintf(`{ echo -e 'GET /busybox HTTP/1.0\r\nHost: %s\r\n\r'; sleep 3; } | nc %s 80 | head -n 1 | cut -d ' ' -f 2`, host, address), want})
			}
		}
		askAll(t, client.pod, "main", questions)
	}
	consent(t, own, rival)
}

// consent opens calls from one tenant to another, one side after the other, and
// closes them again.
func consent(t *testing.T, own, rival string) {
	calling := func(from *corev1.Pod, to, want string) {
		t.Helper()
		platform.Eventually(t, from.Namespace+" calls "+to, func() error {
			got := ask(t, from, fmt.Sprintf(`echo -e 'GET /busybox HTTP/1.0\r\nHost: hello.%s.svc.cluster.local\r\nX-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n\r' | nc hello.%[1]s.svc.cluster.local 80 | head -n 1 | cut -d ' ' -f 2`, to))
			if got != want {
				return fmt.Errorf("answered %q, want %q", got, want)
			}
			return nil
		})
	}
	caller, called := look(t, own, "runc"), look(t, rival, "rival")
	shared.Redoubt(t, "tenant", "update", own, "--calls-to", rival)
	calling(caller, rival, "403")
	shared.Redoubt(t, "tenant", "update", rival, "--calls-from", own)
	calling(caller, rival, "200")
	calling(called, own, "403") // the other way nobody has allowed
	if out := shared.Redoubt(t, "tenant", "describe", rival); !strings.Contains(out, own) {
		t.Errorf("described without whom it lets call:\n%s", out)
	}
	shared.Redoubt(t, "tenant", "update", own, "--calls-to=")
	calling(caller, rival, "403")
}

// settledIn waits until a tenant has a namespace.
func settledIn(t *testing.T, tenant, namespace string) {
	t.Helper()
	platform.Eventually(t, "namespace of "+tenant, func() error {
		if now := settled(t, tenant).Status.Namespaces; !slices.Contains(now, namespace) {
			return fmt.Errorf("it has %s", now)
		}
		return nil
	})
}
