package cluster

import (
	_ "embed"
	"fmt"
)

//go:embed audit.yaml
var auditPolicy []byte

// The audit log is at most this large and this old: the file that is written, and
// those before it.
const (
	auditFileSize = 10 // MB
	auditFiles    = 10
	auditDays     = 30
)

func (b *boot) writeAudit() error { return writeFile(b.config("audit.yaml"), auditPolicy) }

// auditFlags make the API server write down each request before it is
// answered. Its folder is made for root alone.
func (b *boot) auditFlags() []string {
	return []string{
		"--audit-policy-file=" + b.config("audit.yaml"),
		"--audit-log-path=" + b.inst.AuditLog(),
		fmt.Sprintf("--audit-log-maxsize=%d", auditFileSize),
		fmt.Sprintf("--audit-log-maxbackup=%d", auditFiles),
		fmt.Sprintf("--audit-log-maxage=%d", auditDays),
	}
}
