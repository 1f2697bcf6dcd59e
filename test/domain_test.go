package test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"redoubt.dev/redoubt/test/platform"
)

const domainMapping = `
apiVersion: serving.knative.dev/v1beta1
kind: DomainMapping
metadata: {name: %s, namespace: %s}
spec: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: web}}
`

func awaitDomain(t *testing.T, ns, domain, condition string) {
	t.Helper()
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition="+condition, "--timeout=60s", "domainmapping/"+domain)
}

// A service answers to a name of its owner's. Who comes second does not get the
// name, and is not led to what has it, until it is given up.
func TestDomainBelongsToTheFirst(t *testing.T) {
	first, second := namespace(t), namespace(t)
	shell(t)
	deployWeb(t, "web", first, "never", "runc", "")
	domain := first + ".example.org"
	shared.Apply(t, fmt.Sprintf(domainMapping, domain, first))
	awaitDomain(t, first, domain, "Ready")
	if _, err := visit(t, domain); err != nil {
		t.Errorf("%s, which is ready: %v", domain, err)
	}
	shared.Apply(t, fmt.Sprintf(domainMapping, domain, second))
	awaitDomain(t, second, domain, "DomainClaimed=False")
	if _, err := visit(t, domain); err != nil {
		t.Errorf("%s, after another namespace wanted it: %v", domain, err)
	}
	shared.Kubectl(t, "-n", first, "delete", "domainmapping", domain)
	awaitDomain(t, second, domain, "DomainClaimed")
	awaitDomain(t, second, domain, "ReferenceResolved=False") // it has no such service
	platform.Eventually(t, "the first namespace's service answers to the name no more", func() error {
		if body, err := visit(t, domain); err == nil {
			return fmt.Errorf("%s is answered with %q", domain, body)
		}
		return nil
	})
}

// No mapping gets a name that the platform gives, be it that of a service which
// is still to come.
func TestDomainOfThePlatformCannotBeClaimed(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "web", ns, "never", "runc", "")
	const domain = "new.other.localhost"
	shared.Apply(t, fmt.Sprintf(domainMapping, domain, ns))
	awaitDomain(t, ns, domain, "DomainClaimed=False")
	if _, err := visit(t, domain); err == nil {
		t.Errorf("%s leads to a service of another name", domain)
	}
}

// A mapping's owner brings the certificate: clients are shown it and no other,
// and those without TLS are led there.
func TestDomainHasItsOwnersCertificate(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "web", ns, "never", "runc", "")
	domain := ns + ".example.org"
	certificate, key := selfSigned(t, domain)
	shared.Apply(t, fmt.Sprintf(domainMapping, domain, ns))
	awaitDomain(t, ns, domain, "Ready")
	shared.Kubectl(t, "-n", ns, "patch", "domainmapping", domain, "--type=merge", "--patch", `{"spec": {"tls": {"secretName": "own"}}}`)
	platform.Eventually(t, "nothing gets through without the secret", func() error {
		if body, err := visit(t, domain); err == nil || !strings.HasPrefix(err.Error(), "503") {
			return fmt.Errorf("%s: %q, %v", domain, body, err)
		}
		return nil
	})
	shared.Kubectl(t, "-n", ns, "create", "secret", "tls", "own", "--cert", certificate, "--key", key)
	trusted := x509.NewCertPool()
	if data, err := os.ReadFile(certificate); err != nil || !trusted.AppendCertsFromPEM(data) {
		t.Fatal(err)
	}
	platform.Eventually(t, "the certificate is shown", func() error {
		resp, err := trusting(trusted).Get("https://" + domain)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return err
	})
	resp, err := trusting(nil).Get("http://" + domain + "/a?b")
	if err != nil || resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "https://"+domain+"/a?b" {
		t.Errorf("without TLS: %+v, %v", resp, err)
	}
	if url := shared.Kubectl(t, "-n", ns, "get", "domainmapping", domain, "-o", "jsonpath={.status.url}"); !strings.HasPrefix(url, "https://"+domain) {
		t.Errorf("its URL is %s", url)
	}
}
