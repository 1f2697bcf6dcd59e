package test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// TestTenantsTakeNoPortsOfNodes makes services of every kind as a tenant's user,
// and as the owner, who may have ports of the nodes.
func TestTenantsTakeNoPortsOfNodes(t *testing.T) {
	const name = "tenant-ports"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	alice, no := newUser(t, name), false
	for what, test := range map[string]struct {
		change  func(*corev1.ServiceSpec)
		refused bool
	}{
		"an address of the cluster":   {func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeClusterIP }, false},
		"a node port":                 {func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }, true},
		"a load balancer's node port": {func(s *corev1.ServiceSpec) { s.AllocateLoadBalancerNodePorts = nil }, true},
		"a load balancer without":     {func(*corev1.ServiceSpec) {}, false},
		"one that it asks for":        {func(s *corev1.ServiceSpec) { s.Ports[0].NodePort = 30999 }, true},
		"one to ask for health":       {func(s *corev1.ServiceSpec) { s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal }, true},
	} {
		t.Run(what, func(t *testing.T) {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &no, Ports: []corev1.ServicePort{{Port: 80}}}}
			test.change(&service.Spec)
			if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
				service.Spec.AllocateLoadBalancerNodePorts = nil
			}
			dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
			_, err := alice.cluster.CoreV1().Services(name).Create(t.Context(), service, dry)
			if !test.refused && err != nil {
				t.Errorf("refused: %v", err)
			}
			if test.refused && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "take no ports of the nodes")) {
				t.Errorf("answered %v, want it forbidden", err)
			}
			if _, err := shared.Cluster.CoreV1().Services(name).Create(t.Context(), service, dry); err != nil {
				t.Errorf("the owner's is refused: %v", err)
			}
		})
	}
}
