package cluster

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"os"
	"text/template"
)

// metricsServerPort is not the kubelet's 10250, which is taken on the node.
const metricsServerPort = 10350

//go:embed addons.yaml
var addonsTemplate string

func (b *boot) addons() ([]byte, error) {
	ca, err := os.ReadFile(b.pki("cluster", "ca.crt"))
	if err != nil {
		return nil, err
	}
	t, err := template.New("addons.yaml").Parse(addonsTemplate)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = t.Execute(&text, map[string]any{
		"DNSIP":       nth(b.opts.ServiceRange, dnsIndex),
		"NodeIP":      b.link.NodeIP,
		"MetricsPort": metricsServerPort,
		"CA":          base64.StdEncoding.EncodeToString(ca),
	})
	if err != nil {
		return nil, fmt.Errorf("write add-ons: %w", err)
	}
	return text.Bytes(), nil
}
