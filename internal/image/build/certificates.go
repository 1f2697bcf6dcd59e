package build

import (
	"fmt"
	"os"
)

// Certificates is where an image has the authorities that its programs trust:
// PEM, one after the other. Debian and Ubuntu keep them at the same place.
const Certificates = "/etc/ssl/certs/ca-certificates.crt"

// Authorities are the certificates that this machine trusts.
func Authorities() ([]byte, error) {
	data, err := os.ReadFile(Certificates)
	if err != nil {
		return nil, fmt.Errorf("read the authorities that this machine trusts (install them with: apt-get install ca-certificates): %w", err)
	}
	return data, nil
}
