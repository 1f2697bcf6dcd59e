package cluster

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"redoubt.dev/redoubt/internal/cluster/pki"
)

// ciphers are those of TLS 1.2 that nothing is held against; 1.3 has no others.
const ciphers = "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384,TLS_CHACHA20_POLY1305_SHA256," +
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256," +
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"

// writeEncryption has the API server encrypt secrets before etcd gets them: a copy
// of etcd's data alone tells none. What an earlier boot wrote plainly is read as
// it is.
func (b *boot) writeEncryption() error {
	key, err := b.encryptionKey()
	if err != nil {
		return err
	}
	return b.writeJSON("encryption.json", map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1",
		"kind":       "EncryptionConfiguration",
		"resources": []map[string]any{{
			"resources": []string{"secrets"},
			"providers": []map[string]any{
				{"secretbox": map[string]any{"keys": []map[string]string{{"name": "first", "secret": key}}}},
				{"identity": map[string]any{}},
			},
		}},
	})
}

// encryptionKey is made once; without it what it has encrypted is lost.
func (b *boot) encryptionKey() (string, error) {
	path := b.pki("secrets.key")
	key, err := os.ReadFile(path)
	if err == nil {
		return string(key), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the key of secrets: %w", err)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // it never fails
	made := base64.StdEncoding.EncodeToString(random)
	if err := pki.Keep(path, []byte(made)); err != nil {
		return "", fmt.Errorf("keep the key of secrets: %w", err)
	}
	return made, nil
}
