// Package credential gets a tenant's user a client certificate, from the
// cluster's own signer through the API of certificate signing requests. Who
// calls it must be allowed to make and approve them.
//
// The key never leaves the caller. A certificate is good until it ends, or until
// its user is removed from the tenant's credentials.
package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// Shortest and Longest bound the life of a certificate: the first is the
// signing API's, the second the usual end of what signers give.
const (
	Shortest = 10 * time.Minute
	Longest  = 365 * 24 * time.Hour
)

// signingLimit is how long a signer may take.
const signingLimit = time.Minute

// userName leaves out what would end a name early where names are joined by
// colons.
var userName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.@]{0,61}[A-Za-z0-9])?$`)

// Credential is a client certificate with its key, both as PEM.
type Credential struct {
	Certificate, Key []byte
	// Until is when it ends. That may be earlier than was asked for.
	Until time.Time
}

// Check says whether a user may have such a name, and a certificate such a
// life.
func Check(user string, life time.Duration) error {
	if !userName.MatchString(user) {
		return fmt.Errorf("%q is no name for a user: use at most 63 letters, digits and inner - _ . @", user)
	}
	if life < Shortest || life > Longest {
		return fmt.Errorf("%v is no life for a credential: use %v to %v", life, Shortest, Longest)
	}
	return nil
}

// Of is the user's entry among the tenant's credentials, made where there is none.
func Of(tenant *redoubt.Tenant, user string) redoubt.TenantCredential {
	for _, c := range tenant.Spec.Credentials {
		if c.User == user {
			return c
		}
	}
	made := redoubt.TenantCredential{User: user, ID: rand.Text()}
	tenant.Spec.Credentials = append(tenant.Spec.Credentials, made)
	return made
}

// Revoke removes the user's entry, or all of them where user is empty, and says
// whether there was one.
func Revoke(tenant *redoubt.Tenant, user string) bool {
	before := len(tenant.Spec.Credentials)
	tenant.Spec.Credentials = slices.DeleteFunc(tenant.Spec.Credentials, func(c redoubt.TenantCredential) bool { return user == "" || c.User == user })
	return len(tenant.Spec.Credentials) < before
}

// Request asks for a certificate of one of the tenant's credentials, approves
// that, and waits for it.
func Request(ctx context.Context, c client.Client, tenant string, of redoubt.TenantCredential, life time.Duration) (*Credential, error) {
	if err := Check(of.User, life); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{
		CommonName:   redoubt.TenantUser(tenant, of.User),
		Organization: []string{redoubt.CertificateGroup(tenant, of), redoubt.TenantsGroup},
	}}, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write the key: %w", err)
	}
	signed, err := sign(ctx, c, encode("CERTIFICATE REQUEST", der), int32(life/time.Second))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(signed)
	if block == nil {
		return nil, errors.New("the cluster signed something that is no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the certificate that the cluster signed: %w", err)
	}
	return &Credential{Certificate: signed, Key: encode("PRIVATE KEY", private), Until: certificate.NotAfter}, nil
}

// sign takes a request through the cluster's signer and removes it again.
func sign(ctx context.Context, c client.Client, request []byte, seconds int32) ([]byte, error) {
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "redoubt-tenant-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:           request,
			SignerName:        certificatesv1.KubeAPIServerClientSignerName,
			ExpirationSeconds: &seconds,
			Usages:            []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
		},
	}
	if err := c.Create(ctx, csr); err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	defer func() { _ = c.Delete(context.WithoutCancel(ctx), csr) }() // the cluster forgets it after an hour otherwise
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
		Reason: "TenantKubeconfig", Message: "whoever asked may update tenants",
	}}
	if err := c.SubResource("approval").Update(ctx, csr); err != nil {
		return nil, fmt.Errorf("approve the certificate: %w", err)
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, signingLimit, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(csr), csr); err != nil {
			return false, err
		}
		for _, condition := range csr.Status.Conditions {
			if condition.Type != certificatesv1.CertificateApproved {
				return false, fmt.Errorf("it is %s: %s", condition.Type, condition.Message)
			}
		}
		return len(csr.Status.Certificate) > 0, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return nil, fmt.Errorf("no certificate within %v: does this cluster sign for %s? Where it does not, let its identity provider name the groups", signingLimit, certificatesv1.KubeAPIServerClientSignerName)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the certificate: %w", err)
	}
	return csr.Status.Certificate, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
