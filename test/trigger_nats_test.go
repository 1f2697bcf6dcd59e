package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/test/platform"
)

// natsService is where the controllers look for NATS. Its one address is the
// node's.
const natsService = `
apiVersion: v1
kind: Namespace
metadata: {name: nats-io}
---
apiVersion: v1
kind: Service
metadata: {name: nats, namespace: nats-io}
spec: {ports: [{port: 4222, targetPort: %[2]s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: nats-1, namespace: nats-io, labels: {kubernetes.io/service-name: nats}}
addressType: IPv4
ports: [{port: %[2]s}]
endpoints: [{addresses: [%[1]q]}]
`

// startNATS starts a real server, which the cluster finds as a service, and
// returns its address for this process.
func startNATS(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	nodes, err := shared.Cluster.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 1 {
		t.Fatalf("%d nodes, %v", len(nodes.Items), err)
	}
	node := nodes.Items[0].Status.Addresses[0].Address
	l, err := netns.Listen(shared.Inst.NetNS(), "tcp", net.JoinHostPort(node, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	platform.Eventually(t, "NATS takes connections", func() error {
		if s.Addr() == nil {
			return errors.New("not yet")
		}
		return nil
	})
	go relay(l, s.Addr().String())
	_, port, _ := net.SplitHostPort(l.Addr().String())
	shared.Apply(t, fmt.Sprintf(natsService, node, port))
	t.Cleanup(func() {
		_ = shared.Cluster.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), "nats-io", metav1.DeleteOptions{})
	})
	return s.ClientURL()
}

// relay joins every connection of l to an address.
func relay(l net.Listener, address string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", address)
		if err != nil {
			from.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
			}()
		}
	}
}

func TestNATSTriggerWakesItsFunction(t *testing.T) {
	ns := namespace(t)
	url := startNATS(t)
	topic := ns + ".paid"
	shared.Redoubt(t, "function", "prepare", "python3")
	shared.Apply(t, fmt.Sprintf(ticked, ns))
	shared.Kubectl(t, "-n", ns, "label", "functions.kubeless.io/report", "app=report")
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "functions.kubeless.io/report")
	awaitFrozen(t, ns, "report", corev1.ConditionTrue)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers, err := conn.SubscribeSync(ns + ".done")
	if err != nil || conn.Flush() != nil {
		t.Fatal(err)
	}
	shared.Redoubt(t, "trigger", "-n", ns, "nats", "create", "paid", "--trigger-topic="+topic, "--function-selector=app=report", "--reply-topic="+ns+".done")
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=60s", "natstriggers.kubeless.io/paid")
	shared.Redoubt(t, "trigger", "nats", "publish", "--url="+url, "--topic="+topic, `--message={"by": "message"}`)
	platform.Eventually(t, "a call", func() error {
		if out := function(t, ns, "logs", "report"); !strings.Contains(out, "called by message of natstriggers.kubeless.io") {
			return fmt.Errorf("the logs are %q", out)
		}
		return nil
	})
	platform.Eventually(t, "the answer is published", func() error {
		m, err := answers.NextMsg(time.Second)
		if err == nil && (m.Header.Get("Content-Type") != "application/cloudevents+json" || !all(string(m.Data), `"source": "/report"`, `{"by": "message"}`)) {
			t.Errorf("the answer is %s with %v", m.Data, m.Header)
		}
		return err
	})
	if out := shared.Redoubt(t, "trigger", "-n", ns, "nats", "list"); !all(out, "paid", topic, "app=report", "report", "True") {
		t.Errorf("the list is %q", out)
	}
	shared.Redoubt(t, "trigger", "-n", ns, "nats", "update", "paid", "--function-selector=app=none")
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready=False", "--timeout=60s", "natstriggers.kubeless.io/paid")
	shared.Redoubt(t, "trigger", "-n", ns, "nats", "delete", "paid")
}

// A tenant's triggers follow the tenant's own topics.
func TestNATSTriggerOfATenant(t *testing.T) {
	const tenant, ns = "tenant-nats", "tenant-nats"
	newTenant(t, tenant, redoubt.TenantSpec{Floor: "process", DefaultClass: "runc"})
	shared.Apply(t, fmt.Sprintf(`{"apiVersion": "kubeless.io/v1beta1", "kind": "NATSTrigger", "metadata": {"name": "spy", "namespace": %q}, "spec": {"topic": "other.paid", "functionSelector": {}}}`, ns))
	platform.Eventually(t, "the topic is refused", func() error {
		if out := shared.Redoubt(t, "trigger", "-n", ns, "nats", "list"); !strings.Contains(out, "TopicReserved") {
			return errors.New(out)
		}
		return nil
	})
	shared.Redoubt(t, "trigger", "-n", ns, "nats", "update", "spy", "--trigger-topic="+tenant+".paid", "--reply-topic=other.paid")
	platform.Eventually(t, "nor may answers go elsewhere", func() error {
		if out := shared.Redoubt(t, "trigger", "-n", ns, "nats", "list"); !strings.Contains(out, "TopicReserved") {
			return errors.New(out)
		}
		return nil
	})
	shared.Redoubt(t, "trigger", "-n", ns, "nats", "update", "spy", "--reply-topic="+tenant+".done")
	platform.Eventually(t, "the control: its own topic is not", func() error {
		if out := shared.Redoubt(t, "trigger", "-n", ns, "nats", "list"); !strings.Contains(out, "FunctionMissing") {
			return errors.New(out)
		}
		return nil
	})
}

func TestNATSTriggerRefuses(t *testing.T) {
	ns := namespace(t)
	const manifest = `{"apiVersion": "kubeless.io/v1beta1", "kind": "NATSTrigger", "metadata": {"name": %q, "namespace": %q}, "spec": {"topic": %q, "functionSelector": {}}}`
	for topic, says := range map[string]string{">": "subject of NATS", "a b": "subject of NATS", "a..b": "subject of NATS", "$SYS.>": "subject of NATS", "*.paid": "must begin", "redoubt.dead.>": "must begin"} {
		shared.Refuse(t, fmt.Sprintf(manifest, "bad", ns, topic), says)
	}
	shared.Refuse(t, fmt.Sprintf(manifest, "a.b", ns, "orders"), "no dot")
	for topic, says := range map[string]string{"paid.*": "one subject", "paid.>": "one subject", "redoubt.dead.x": "must not begin"} {
		shared.Refuse(t, fmt.Sprintf(strings.Replace(manifest, `"functionSelector"`, `"replyTopic": %q, "functionSelector"`, 1), "bad", ns, "paid", topic), says)
	}
	for title, tc := range map[string]struct {
		args []string
		says string
	}{
		"no topic":      {[]string{"create", "bad", "--function-selector=a=b"}, "needs --trigger-topic"},
		"no selector":   {[]string{"create", "bad", "--trigger-topic=a", "--function-selector="}, "every function"},
		"bad selector":  {[]string{"create", "bad", "--trigger-topic=a", "--function-selector=a=b=c"}, "is no selector"},
		"no message":    {[]string{"publish", "--url=nats://127.0.0.1:1", "--topic=a"}, "needs --url"},
		"nobody there":  {[]string{"publish", "--url=nats://127.0.0.1:1", "--topic=a", "--message=x"}, "connect to NATS"},
		"absent update": {[]string{"update", "none", "--trigger-topic=a"}, "there is no trigger 'none'"},
	} {
		_, err := shared.Try(t, "", append([]string{"trigger", "nats"}, append(tc.args, inNamespace(tc.args, ns)...)...)...)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", title, err, tc.says)
		}
	}
}

// inNamespace is the flag, for commands that have it.
func inNamespace(args []string, ns string) []string {
	if args[0] == "publish" {
		return nil
	}
	return []string{"-n", ns}
}
