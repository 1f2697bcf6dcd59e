// Package runtimes lists the languages that functions are written in, and
// holds the server that each runs: a small program in that language, which
// loads the function's source and calls it (Kubeless's contract).
package runtimes

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Runtime is one language.
type Runtime struct {
	// Name is what a function's spec.runtime says.
	Name string
	// Extension ends the names of source files.
	Extension string
	// Image runs the server; it is built from Packages and Server.
	Image string
	// Packages are Debian's, without what they recommend; Exclude are
	// patterns of their files that no function needs.
	Packages, Exclude []string
	// Prepare is a command in the image that makes its start faster.
	Prepare []string
	// Server is the server's file in this package, and Command runs it where
	// it is in the image.
	Server  string
	Command []string
}

//go:embed python3/server.py nodejs/server.js
var servers embed.FS

var all = map[string]Runtime{
	"python3": {
		Name: "python3", Extension: ".py",
		Image:    "localhost/redoubt/python3:latest",
		Packages: []string{"python3"},
		// The distribution compiles its modules in scripts that an image
		// build does not run, and functions may not write beside them:
		// every start would compile them anew. Hashes instead of times keep
		// the image reproducible.
		Prepare: []string{"/usr/bin/python3", "-c", `
import compileall, os, py_compile
compileall.compile_dir(os.path.dirname(os.__file__), quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)`},
		Server:  "python3/server.py",
		Command: []string{"/usr/bin/python3", "-u", "/server.py"},
	},
	"nodejs": {
		Name: "nodejs", Extension: ".js",
		Image:    "localhost/redoubt/nodejs:latest",
		Packages: []string{"nodejs"},
		Server:   "nodejs/server.js",
		Command:  []string{"/usr/bin/node", "/server.js"},
	},
}

// Get returns the runtime called name. The error lists those there are.
func Get(name string) (Runtime, error) {
	r, ok := all[name]
	if !ok {
		return Runtime{}, fmt.Errorf("spec.runtime: %q is not a runtime that is here; use one of: %s", name, strings.Join(Names(), ", "))
	}
	return r, nil
}

// Names lists the runtimes.
func Names() []string { return slices.Sorted(maps.Keys(all)) }

// Source is the server's program.
func (r Runtime) Source() ([]byte, error) { return servers.ReadFile(r.Server) }
