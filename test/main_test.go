// Package test tests the platform as its users see it. All tests share one
// booted instance, in namespaces of their own; those that boot, break and end
// instances are in the package lifecycle.
//
// REDOUBT_TEST_INSTANCE=NAME runs them on an instance that is booted already,
// and leaves it as it is.
package test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/test/platform"
)

// shared is the instance of all tests in this package.
var shared *platform.Platform

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if name := os.Getenv("REDOUBT_TEST_INSTANCE"); name != "" {
		shared, err = platform.Join(name)
	} else {
		shared, err = platform.Boot("e2e")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := shared.End(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// namespace makes a namespace for one test, removed when it ends.
func namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))[:min(40, len(t.Name()))] + "-"}}
	made, err := shared.Cluster.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := shared.Cluster.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), made.Name, metav1.DeleteOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	// Pods are refused until the namespace's account is there.
	platform.Eventually(t, "service account", func() error {
		_, err := shared.Cluster.CoreV1().ServiceAccounts(made.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return made.Name
}
