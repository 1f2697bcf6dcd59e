package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/test/platform"
)

// hostPorts are the node's ports of the pods of TestNetwork.
var hostPorts = map[string]string{"runc": "18081", "gvisor": "18082", "microvm": "18083"}

// TestNetwork reaches a pod of every class from every class, in each way that
// Kubernetes offers: by name and address of its service, by its own name and
// address, by a port of the node, and from the node itself.
func TestNetwork(t *testing.T) {
	shell(t)
	ns, all := namespace(t), classes(t)
	for _, class := range all {
		submit(t, ns, class, "network")
	}
	addresses := map[string][]string{} // by class, without the scheme
	for _, class := range all {
		shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/"+class)
		service, err := shared.Cluster.CoreV1().Services(ns).Get(t.Context(), "web-"+class, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod := look(t, ns, class)
		node := pod.Status.HostIP
		addresses[class] = []string{
			"web-" + class, "web-" + class + "." + ns + ".svc.cluster.local", service.Spec.ClusterIP,
			class + ".pods:8080", pod.Status.PodIP + ":8080",
			fmt.Sprintf("%s:%d", node, service.Spec.Ports[0].NodePort), node + ":" + hostPorts[class],
		}
	}
	platform.Eventually(t, "the services' rules and names", func() error {
		for _, class := range all {
			if out, err := shared.Try(t, "", "kubectl", "-n", ns, "exec", class, "--", "nslookup", "pods."+ns+".svc.cluster.local"); err != nil || strings.Count(out, "Address:") != len(all)+1 {
				return fmt.Errorf("%s: %s, %w", class, out, err)
			}
			if _, err := get(addresses[class][5]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, from := range all {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			var questions []question
			for _, to := range all {
				for _, address := range addresses[to] {
					questions = append(questions, question{"request to " + address, "wget -q -O - http://" + address + "/", to})
				}
			}
			questions = append(questions,
				question{"the API server's name", "nslookup kubernetes.default.svc.cluster.local | grep -c 'Address: 198.19.0.1$'", "1"},
				question{"a name that is not there", "nslookup no-such-name.default.svc.cluster.local | grep -q NXDOMAIN && echo none", "none"},
				question{"loopback", "wget -q -O - http://127.0.0.1:8080/", from},
			)
			askAll(t, look(t, ns, from), "main", questions)
		})
		for _, address := range addresses[from][5:] {
			if answer, err := get(address); answer != from || err != nil {
				t.Errorf("from the node to %s: %q, %v", address, answer, err)
			}
		}
	}
}

// get sends a request from the node's network.
func get(address string) (answer string, err error) {
	conn, err := netns.Dial(context.Background(), shared.Inst.NetNS(), "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}
