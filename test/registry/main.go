// Command registry is the registry that tests pull from: the reference implementation
// of the distribution specification, unmodified. It is a module of its own,
// because nothing of it belongs into Redoubt.
//
//	registry serve CONFIG.YML
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
