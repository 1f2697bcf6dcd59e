package lifecycle

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/test/platform"
)

// certificates are what an instance shows and uses now: the API server's, and
// the administrator's.
func certificates(t *testing.T, p *platform.Platform) (server, administrator []byte) {
	t.Helper()
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.State.APIPort), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cfg, err := clientcmd.LoadFromFile(p.Inst.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].Raw, cfg.AuthInfos["redoubt"].ClientCertificateData
}

// Certificates are made anew under a running instance: every component but
// containerd, which has none, is started again with its own, and pods do not
// notice.
func TestCertificatesRotateWhileRunning(t *testing.T) {
	p := boot(t, "rotated")
	pod := run(t, p, "runc")
	server, administrator := certificates(t, p)
	if again, same := certificates(t, p); !bytes.Equal(server, again) || !bytes.Equal(administrator, same) {
		t.Fatal("certificates change by themselves: the test proves nothing")
	}
	before := map[string]int{}
	processes, err := cluster.Processes(t.Context(), p.Inst)
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		before[process.Name] = process.PID
	}
	p.Redoubt(t, "certificate", "rotate")
	if newServer, newAdministrator := certificates(t, p); bytes.Equal(server, newServer) || bytes.Equal(administrator, newAdministrator) {
		t.Error("the API server or the administrator has the former certificate")
	}
	platform.Eventually(t, "the platform is healthy", func() error { return cluster.Look(t.Context(), p.Inst).Check() })
	if processes, err = cluster.Processes(t.Context(), p.Inst); err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		if kept := process.PID == before[process.Name]; kept != (process.Name == "containerd") {
			t.Errorf("%s goes on with its former certificate: %t", process.Name, kept)
		}
	}
	if _, err := p.Cluster.CoreV1().Pods("default").Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("who has the former certificate, which is good still, is refused: %v", err)
	}
	unbroken(t, p, "runc", pod)
	run(t, p, "runc") // and new pods start
}
