// Package runtimes lists the languages that functions are written in, and
// holds the server that each runs: a small program in that language, which
// loads the function's source and calls it (Kubeless's contract).
package runtimes

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
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
	// Packages are Debian's, if any, without what they recommend; Exclude are
	// patterns of their files that no function needs. dash is /bin/sh, with which
	// every language runs commands.
	Packages, Exclude []string
	// KeyStore is where the language's program looks for the authorities that it
	// trusts, in Java's own format; most read the image's in PEM.
	KeyStore string
	// Prepare is a command in the image that makes its start faster.
	Prepare []string
	// Server is the server's file in this package, or the folder of a Go
	// program, which is compiled. Command runs it where it is in the image.
	Server  string
	Command []string
	// Sums names what the program needs of other modules, as go.sum does: the
	// file of this package.
	Sums string
	// Spare says that the server can start without a function, and be given one
	// later (Order).
	Spare bool
	// Build installs or compiles what a function needs; nil where that is left
	// to its owner.
	Build *Build
}

//go:embed python3/server.py nodejs/server.js ruby/server.rb php/server.php java/Server.java
//go:embed contract/*.go lend/*.go binary/*.go wasm/*.go wasm/modules.sum go/server/*.go
//go:embed source/*.go builder/*.go python3/build.sh nodejs/build.sh go/build.sh go/functions/*.go
var servers embed.FS

var all = map[string]Runtime{
	"python3": {
		Name: "python3", Extension: ".py",
		Image:    "localhost/redoubt/python3:latest",
		Packages: []string{"python3", "dash"},
		// The distribution compiles its modules in scripts that an image
		// build does not run, and functions may not write beside them:
		// every start would compile them anew. Hashes instead of times keep
		// the image reproducible.
		Prepare: []string{"/usr/bin/python3", "-c", `
import compileall, os, py_compile
compileall.compile_dir(os.path.dirname(os.__file__), quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)`},
		Server:  "python3/server.py",
		Command: []string{"/usr/bin/python3", "-u", "/server.py"},
		Spare:   true,
	},
	"nodejs": {
		Name: "nodejs", Extension: ".js",
		Image:    "localhost/redoubt/nodejs:latest",
		Packages: []string{"nodejs", "dash"},
		Server:   "nodejs/server.js",
		Command:  []string{"/usr/bin/node", "/server.js"},
		Spare:    true,
	},
	"ruby": {
		Name: "ruby", Extension: ".rb",
		Image:    "localhost/redoubt/ruby:latest",
		Packages: []string{"ruby", "dash"},
		Server:   "ruby/server.rb",
		// Text is UTF-8, although an image has no locale.
		Command: []string{"/usr/bin/ruby", "-E", "UTF-8:UTF-8", "/server.rb"},
	},
	"php": {
		Name: "php", Extension: ".php",
		Image:    "localhost/redoubt/php:latest",
		Packages: []string{"php-cli", "dash"},
		Server:   "php/server.php",
		// No php.ini: the distribution's scripts write it. Errors belong into
		// the log, the function's limit is its sandbox's.
		Command: []string{"/usr/bin/php.default", "-n", "-d", "display_errors=stderr", "-d", "memory_limit=-1",
			"-d", "extension=posix", "-d", "extension=ctype", "-d", "extension=iconv", "-d", "extension=tokenizer", "/server.php"},
	},
	"java": {
		Name: "java", Extension: ".java",
		Image:    "localhost/redoubt/java:latest",
		Packages: []string{"default-jre-headless", "dash"}, // the compiler is in it
		KeyStore: "/etc/ssl/certs/java/cacerts",
		Server:   "java/Server.java",
		// A function starts often and lives shortly: the quick compiler and
		// the small collector suit it.
		Command: []string{"/usr/lib/jvm/default-java/bin/java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
			"-Djava.security.manager=allow", "-Dsun.net.httpserver.nodelay=true", "/Server.java"},
	},
	"go": {
		Name: "go", Extension: ".go",
		Image: "localhost/redoubt/go:latest",
		// The function is a program, which the server lends connections.
		Server:  "go/server",
		Command: []string{"/server", "/function/handler"},
	},
	"binary": {
		Name:  "binary",
		Image: "localhost/redoubt/binary:latest",
		// What a program or a script is likely to need.
		Packages: []string{"bash", "dash", "coreutils", "grep", "sed", "mawk", "libstdc++6"},
		Server:   "binary",
		Command:  []string{"/server"},
	},
	"wasm": {
		Name: "wasm", Extension: ".wasm",
		Image:   "localhost/redoubt/wasm:latest",
		Server:  "wasm",
		Command: []string{"/server"},
		Sums:    "wasm/modules.sum",
	},
}

// Get returns the runtime called name. The error lists those there are.
func Get(name string) (Runtime, error) {
	r, ok := all[name]
	if !ok {
		return Runtime{}, fmt.Errorf("spec.runtime: %q is not a runtime that is here; use one of: %s", name, strings.Join(Names(), ", "))
	}
	r.Build = builds[name]
	return r, nil
}

// Names lists the runtimes.
func Names() []string { return slices.Sorted(maps.Keys(all)) }

// Files are the server's program, by their names: a file, or a Go module, whose
// package is the folder of the server's name.
func (r Runtime) Files() (map[string][]byte, error) {
	if !r.Compiled() {
		return read(r.Server)
	}
	return module(r.Sums, "contract", "lend", r.Server)
}

// Builder is the program that runs the script of a build: a Go module, whose
// package is the folder builder.
func Builder() (map[string][]byte, error) { return module("", "source", "builder") }

const modulePath = "redoubt.dev/redoubt/runtimes"

// module is a Go module of folders of this package. What it needs of others is
// nothing, or exactly what this one is tested with.
func module(sums string, folders ...string) (map[string][]byte, error) {
	files, err := requirements(sums)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		sources, err := read(folder + "/*.go")
		if err != nil {
			return nil, err
		}
		for name, data := range sources {
			files[folder+"/"+name] = data
		}
	}
	return files, nil
}

// requirements are the module's own files.
func requirements(file string) (map[string][]byte, error) {
	const mod = "module " + modulePath + "\n"
	if file == "" {
		return map[string][]byte{"go.mod": []byte(mod + "\ngo 1.22\n")}, nil
	}
	sums, err := servers.ReadFile(file)
	if err != nil {
		return nil, err
	}
	needs := mod + "\ngo 1.26.0\n" // as those modules do
	for line := range strings.Lines(string(sums)) {
		if name, version, _ := strings.Cut(line, " "); !strings.Contains(version, "/go.mod ") {
			version, _, _ = strings.Cut(version, " ")
			needs += "\nrequire " + name + " " + version + "\n"
		}
	}
	return map[string][]byte{"go.mod": []byte(needs), "go.sum": sums}, nil
}

// ReadScript returns the script.
func (b *Build) ReadScript() ([]byte, error) { return servers.ReadFile(b.Script) }

func read(pattern string) (map[string][]byte, error) {
	names, err := fs.Glob(servers, pattern)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := servers.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[path.Base(name)] = data
	}
	return files, nil
}

// Compiled says whether the server is a Go program.
func (r Runtime) Compiled() bool { return path.Ext(r.Server) == "" }
