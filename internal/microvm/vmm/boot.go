package vmm

import (
	"fmt"
	"os"
	"strings"
)

// Boot names the boot of the host that lasts now. What was learnt or saved with
// virtual machines holds no longer: a disk is often started with another kernel, or,
// in a cloud, another processor, for which a saved machine is none.
func Boot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell one boot of the host from another: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
