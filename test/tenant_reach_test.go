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

// TestTenantsSendNoNodeForVolumes asks for volumes of each kind that a node would
// go to a server for, as a tenant's user whose Pod Security level allows it. The
// owner, who may have them, is the control.
func TestTenantsSendNoNodeForVolumes(t *testing.T) {
	const name, server = "tenant-volumes", "192.0.2.1"
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	alice := newUser(t, name)
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	for what, source := range map[string]corev1.VolumeSource{
		"nothing":    {},
		"emptyDir":   {EmptyDir: &corev1.EmptyDirVolumeSource{}},
		"configMap":  {ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}},
		"secret":     {Secret: &corev1.SecretVolumeSource{SecretName: "s"}},
		"projected":  {Projected: &corev1.ProjectedVolumeSource{}},
		"downward":   {DownwardAPI: &corev1.DownwardAPIVolumeSource{}},
		"claim":      {PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}},
		"image":      {Image: &corev1.ImageVolumeSource{Reference: "localhost/redoubt/pause:latest"}},
		"nfs":        {NFS: &corev1.NFSVolumeSource{Server: server, Path: "/"}},
		"iscsi":      {ISCSI: &corev1.ISCSIVolumeSource{TargetPortal: server, IQN: "iqn.2001-04.com.example:storage"}},
		"fc":         {FC: &corev1.FCVolumeSource{WWIDs: []string{"1"}}},
		"flexVolume": {FlexVolume: &corev1.FlexVolumeSource{Driver: "example.com/d"}},
		"cephfs":     {CephFS: &corev1.CephFSVolumeSource{Monitors: []string{server}}},
		"rbd":        {RBD: &corev1.RBDVolumeSource{CephMonitors: []string{server}, RBDImage: "i"}},
		"azureFile":  {AzureFile: &corev1.AzureFileVolumeSource{SecretName: "s", ShareName: "s"}},
		"glusterfs":  {Glusterfs: &corev1.GlusterfsVolumeSource{EndpointsName: "e", Path: "p"}},
	} {
		foreign := source.NFS != nil || source.ISCSI != nil || source.FC != nil || source.FlexVolume != nil || source.CephFS != nil ||
			source.RBD != nil || source.AzureFile != nil || source.Glusterfs != nil
		t.Run(what, func(t *testing.T) {
			pod := idle("gvisor")
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}}
			_, err := alice.cluster.CoreV1().Pods(name).Create(t.Context(), pod, dry)
			if !foreign && err != nil {
				t.Errorf("refused: %v", err)
			}
			if foreign && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `the node itself would ask a server for "v"`)) {
				t.Errorf("answered %v, want it forbidden", err)
			}
			if _, err := shared.Cluster.CoreV1().Pods(name).Create(t.Context(), pod, dry); err != nil {
				t.Errorf("the owner's is refused: %v", err)
			}
		})
	}
}
