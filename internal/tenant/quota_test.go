package tenant

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// Whatever a tenant's quota says or not, a namespace does not fill the cluster's
// store; and what each service consists of leaves room for as many as there may be.
func TestObjectsAreCounted(t *testing.T) {
	services := int64(5000)
	for _, test := range []struct {
		name  corev1.ResourceName
		quota redoubt.TenantQuota
		most  int64 // 0: not counted
	}{
		{"count/configmaps", redoubt.TenantQuota{}, 2000},
		{"count/secrets", redoubt.TenantQuota{}, 2000},
		{"count/jobs.batch", redoubt.TenantQuota{Services: &services}, 2000},
		{"count/routes.serving.knative.dev", redoubt.TenantQuota{}, 0},
		{"count/routes.serving.knative.dev", redoubt.TenantQuota{Services: &services}, 7000},
		{"count/configurations.serving.knative.dev", redoubt.TenantQuota{Services: &services}, 7000},
		{"count/services", redoubt.TenantQuota{Services: &services}, 7000},
		{countedServices, redoubt.TenantQuota{Services: &services}, 4999},
	} {
		hard := hardOf(&test.quota, corev1.ResourceList{countedServices: *resource.NewQuantity(1, resource.DecimalSI)})
		most := hard[test.name]
		if most.Value() != test.most {
			t.Errorf("of %s there may be %d with %+v, want %d", test.name, most.Value(), test.quota, test.most)
		}
	}
}
