package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/test/platform"
)

// TestCISBenchmark makes the checks of the CIS Kubernetes Benchmark that are
// about how the programs run, by the numbers of its version 1.12. Those that an
// instance does not pass, and why, are in docs/reference/cis-benchmark.md.
func TestCISBenchmark(t *testing.T) {
	arguments := commandLines(t)
	for _, check := range []struct {
		id, process string
		want        string // an argument, or a part of one that ends in ...
	}{
		{"1.2.4", "kube-apiserver", "--kubelet-client-certificate=..."},
		{"1.2.4", "kube-apiserver", "--kubelet-client-key=..."},
		{"1.2.5", "kube-apiserver", "--kubelet-certificate-authority=..."},
		{"1.2.6 to 1.2.8", "kube-apiserver", "--authorization-mode=Node,RBAC"},
		{"1.2.14", "kube-apiserver", "--enable-admission-plugins=NodeRestriction"},
		{"1.2.15", "kube-apiserver", "--profiling=false"},
		{"1.2.16", "kube-apiserver", "--audit-log-path=..."},
		{"1.2.17", "kube-apiserver", "--audit-log-maxage=30"},
		{"1.2.18", "kube-apiserver", "--audit-log-maxbackup=10"},
		{"1.2.22", "kube-apiserver", "--service-account-key-file=..."},
		{"1.2.23", "kube-apiserver", "--etcd-certfile=..."},
		{"1.2.23", "kube-apiserver", "--etcd-keyfile=..."},
		{"1.2.24", "kube-apiserver", "--tls-cert-file=..."},
		{"1.2.24", "kube-apiserver", "--tls-private-key-file=..."},
		{"1.2.25", "kube-apiserver", "--client-ca-file=..."},
		{"1.2.26", "kube-apiserver", "--etcd-cafile=..."},
		{"1.2.27", "kube-apiserver", "--encryption-provider-config=..."},
		{"1.2.29", "kube-apiserver", "--tls-cipher-suites=TLS_AES_128_GCM_SHA256..."},
		{"1.2.30", "kube-apiserver", "--service-account-extend-token-expiration=false"},
		{"1.3.1", "kube-controller-manager", "--terminated-pod-gc-threshold=1000"},
		{"1.3.2", "kube-controller-manager", "--profiling=false"},
		{"1.3.3", "kube-controller-manager", "--use-service-account-credentials"},
		{"1.3.4", "kube-controller-manager", "--service-account-private-key-file=..."},
		{"1.3.5", "kube-controller-manager", "--root-ca-file=..."},
		{"1.3.7", "kube-controller-manager", "--bind-address=127.0.0.1"},
		{"1.4.1", "kube-scheduler", "--profiling=false"},
		{"1.4.2", "kube-scheduler", "--bind-address=127.0.0.1"},
		{"2.1", "etcd", "--cert-file=..."},
		{"2.1", "etcd", "--key-file=..."},
		{"2.2", "etcd", "--client-cert-auth"},
		{"2.4", "etcd", "--peer-cert-file=..."},
		{"2.5", "etcd", "--peer-client-cert-auth"},
		{"2.7", "etcd", "--trusted-ca-file=" + shared.Inst.Data("pki", "etcd", "ca.crt")},
		{"3.2.1", "kube-apiserver", "--audit-policy-file=..."},
	} {
		part, prefix := strings.CutSuffix(check.want, "...")
		if !slices.ContainsFunc(arguments[check.process], func(a string) bool { return a == check.want || prefix && strings.HasPrefix(a, part) }) {
			t.Errorf("%s: %s has no argument %s: %q", check.id, check.process, check.want, arguments[check.process])
		}
	}
	for id, bad := range map[string]string{"1.2.2": "--token-auth-file", "1.2.10": "AlwaysAdmit", "1.2.12 and 1.2.13": "--disable-admission-plugins", "1.2.21": "--service-account-lookup=false"} {
		if slices.ContainsFunc(arguments["kube-apiserver"], func(a string) bool { return strings.Contains(a, bad) }) {
			t.Errorf("%s: the API server has %s", id, bad)
		}
	}
	for id, bad := range map[string]string{"2.3": "--auto-tls", "2.6": "--peer-auto-tls"} {
		if slices.ContainsFunc(arguments["etcd"], func(a string) bool { return strings.HasPrefix(a, bad) }) {
			t.Errorf("%s: etcd has %s", id, bad)
		}
	}
}

// TestCISKubelet makes those that are about the kubelet's settings.
func TestCISKubelet(t *testing.T) {
	data, err := os.ReadFile(shared.Inst.Data("config", "kubelet.json"))
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		Authentication struct {
			Anonymous struct{ Enabled *bool }
			X509      struct{ ClientCAFile string }
		}
		Authorization                  struct{ Mode string }
		ReadOnlyPort                   *int
		TLSCertFile, TLSPrivateKeyFile string
		TLSCipherSuites                []string
		StreamingConnectionIdleTimeout string
		MakeIPTablesUtilChains         *bool
		EventRecordQPS                 *int
		PodPidsLimit                   int
		SeccompDefault                 bool
	}
	if err := yaml.Unmarshal(data, &settings); err != nil {
		t.Fatal(err)
	}
	for id, passes := range map[string]bool{
		"4.2.1":  settings.Authentication.Anonymous.Enabled != nil && !*settings.Authentication.Anonymous.Enabled,
		"4.2.2":  settings.Authorization.Mode == "Webhook",
		"4.2.3":  settings.Authentication.X509.ClientCAFile != "",
		"4.2.4":  settings.ReadOnlyPort != nil && *settings.ReadOnlyPort == 0,
		"4.2.5":  settings.StreamingConnectionIdleTimeout == "", // four hours
		"4.2.6":  settings.MakeIPTablesUtilChains == nil,        // true
		"4.2.8":  settings.EventRecordQPS != nil && *settings.EventRecordQPS == 0,
		"4.2.9":  settings.TLSCertFile != "" && settings.TLSPrivateKeyFile != "",
		"4.2.12": len(settings.TLSCipherSuites) > 0,
		"4.2.13": settings.PodPidsLimit > 0,
		"4.2.14": settings.SeccompDefault,
	} {
		if !passes {
			t.Errorf("%s: the kubelet's settings are %s", id, data)
		}
	}
}

// TestCISFiles makes those that are about files (1.1 and 4.1): all are root's, and
// who is not root writes none and reads no key, however he gets there.
func TestCISFiles(t *testing.T) {
	seen := 0
	for _, dir := range []string{"pki", "config", "etcd"} {
		err := filepath.WalkDir(shared.Inst.Data(dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // etcd removes files
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			seen++
			if d.IsDir() && info.Mode().Perm() != 0o700 || !d.IsDir() && info.Mode().Perm()&0o133 != 0 {
				t.Errorf("%s has the mode %v", path, info.Mode())
			}
			if strings.HasSuffix(path, ".key") && info.Mode().Perm() != 0o600 {
				t.Errorf("the key %s has the mode %v", path, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if seen < 30 {
		t.Errorf("the control: only %d files were looked at", seen)
	}
	if info, err := os.Stat(shared.Inst.Kubeconfig()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the administrator's kubeconfig has the mode %v (%v)", info.Mode(), err)
	}
}

// TestSecretsAreEncrypted looks for a secret in what etcd keeps. A ConfigMap, which
// is not one, is the control.
func TestSecretsAreEncrypted(t *testing.T) {
	ns := namespace(t)
	const secret, open = "not-in-etcd-8c1f0e", "in-etcd-8c1f0e"
	if _, err := shared.Cluster.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"s": secret}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Cluster.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"c": open}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	keeps := func(text string) bool {
		files, err := filepath.Glob(shared.Inst.Data("etcd", "member", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(files, func(file string) bool {
			data, err := os.ReadFile(file)
			return err == nil && bytes.Contains(data, []byte(text))
		})
	}
	platform.Eventually(t, "the control is found", func() error {
		if !keeps(open) {
			return fmt.Errorf("etcd has no %q", open)
		}
		return nil
	})
	if keeps(secret) {
		t.Error("etcd keeps a secret that everybody can read who has its files")
	}
}

// commandLines are the arguments of the instance's processes, by their names.
func commandLines(t *testing.T) map[string][]string {
	t.Helper()
	processes, err := cluster.Processes(t.Context(), shared.Inst)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{}
	for _, p := range processes {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		lines[p.Name] = strings.Split(string(data), "\x00")
	}
	return lines
}
