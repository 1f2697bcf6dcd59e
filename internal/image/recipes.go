package image

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/keystore"
	"redoubt.dev/redoubt/internal/probe"
	"redoubt.dev/redoubt/runtimes"
)

// generation is part of every recipe's key. Raise it when building changes
// what images hold.
const generation = 2

// key digests what an image is made from. The values are plain data.
func key(ingredients ...any) string {
	data, err := json.Marshal(append([]any{generation, runtime.GOARCH}, ingredients...))
	if err != nil {
		panic(err) // recipes are made of strings and numbers
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))[:32]
}

// packaged is the recipe for an image of the distribution's packages.
func packaged(name string, p build.Packages, c build.Contents) Recipe {
	return Recipe{
		Name: name,
		Key:  key(name, build.Release(), p, c),
		Make: func(ctx context.Context, progress build.Progress) (*build.Image, error) {
			return build.Debian(ctx, p, c, progress)
		},
	}
}

// Busybox is a shell with the usual commands, from Debian's busybox-static.
func Busybox() Recipe {
	links := map[string]string{}
	for _, applet := range applets {
		links["/bin/"+applet] = "busybox"
	}
	return packaged("localhost/busybox:latest", build.Packages{Names: []string{"busybox-static"}},
		build.Contents{Links: links, Settings: ocispec.ImageConfig{Cmd: []string{"sh"}, Env: []string{"PATH=/bin:/usr/bin"}}})
}

// applets are the commands of busybox that a user of its image expects.
var applets = []string{
	"[", "[[", "arch", "ash", "awk", "base64", "basename", "bc", "cat", "chgrp", "chmod", "chown", "clear", "cmp", "cp", "cut",
	"date", "dd", "df", "diff", "dirname", "dmesg", "dos2unix", "du", "echo", "ed", "egrep", "env", "expand", "expr",
	"factor", "fallocate", "false", "fgrep", "find", "fold", "free", "ftpget", "getopt", "grep", "groups", "gunzip", "gzip",
	"head", "hexdump", "hostname", "httpd", "id", "ifconfig", "ip", "kill", "killall", "less", "link", "ln", "logger", "ls",
	"lzop", "md5sum", "mkdir", "mkfifo", "mknod", "mktemp", "more", "mount", "mv", "nc", "netstat", "nl",
	"nproc", "nslookup", "od", "paste", "patch", "pidof", "ping", "printf", "ps", "pwd", "readlink", "realpath", "renice",
	"reset", "rev", "rm", "rmdir", "route", "sed", "seq", "setsid", "sh", "sha1sum", "sha256sum", "sha512sum", "shred",
	"shuf", "sleep", "sort", "stat", "strings", "stty", "sync", "sysctl", "tac", "tail", "tar", "tee", "telnet",
	"test", "time", "timeout", "top", "touch", "tr", "traceroute", "true", "truncate", "tty", "umount", "uname", "uniq",
	"unlink", "unzip", "uptime", "usleep", "vi", "watch", "wc", "wget", "which", "who", "whoami", "xargs", "xxd", "yes", "zcat",
}

//go:embed helloworld/main.go
var helloworld []byte

// HelloWorld is the program that Knative's documentation deploys first.
func HelloWorld() Recipe {
	return Recipe{
		Name: "localhost/helloworld-go:latest",
		Key:  key("helloworld-go", string(helloworld)),
		Make: makeHelloWorld,
	}
}

func makeHelloWorld(ctx context.Context, progress build.Progress) (*build.Image, error) {
	dir, err := goModule("helloworld-go", map[string][]byte{"main.go": helloworld, "go.mod": []byte("module helloworld-go\n\ngo 1.22\n")})
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return build.GoProgram(ctx, dir, ".", build.Contents{}, progress)
}

// Probe is the program that finds out what a sandbox can do. It lies beside this
// one.
func Probe() (Recipe, error) {
	self, err := os.Executable()
	if err != nil {
		return Recipe{}, fmt.Errorf("find redoubt itself: %w", err)
	}
	program := filepath.Join(filepath.Dir(self), probe.Path)
	data, err := os.ReadFile(program)
	if err != nil {
		return Recipe{}, fmt.Errorf("read the probe (build it with: make build): %w", err)
	}
	return Recipe{
		Name: "localhost/redoubt/probe:latest",
		Key:  key("probe", string(data)),
		Make: func(context.Context, build.Progress) (*build.Image, error) {
			return build.Binary(program, build.Contents{Settings: ocispec.ImageConfig{User: "0"}})
		},
	}, nil
}

// goModule puts a module that Redoubt carries into a temporary folder, so that
// compiling it needs no checkout, nor anything from the network but the modules
// that it names.
func goModule(name string, sources map[string][]byte) (string, error) {
	dir, err := os.MkdirTemp("", "redoubt-"+name+"-*")
	if err != nil {
		return "", fmt.Errorf("make temporary folder: %w", err)
	}
	for file, data := range sources {
		at := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, data, 0o600)); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// user is who functions are, and what builds them.
const user = "1000:1000"

var environment = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SSL_CERT_FILE=" + build.Certificates}

// Runtime is the image that runs functions of a language. Where these may run
// programs, the first process is one that waits for what those leave behind: most
// servers wait for their own children only, and the rest would fill the sandbox.
func Runtime(r runtimes.Runtime) (Recipe, error) {
	files, err := r.Files()
	if err != nil {
		return Recipe{}, err
	}
	trusted, err := trust(r)
	if err != nil {
		return Recipe{}, err
	}
	packages, entrypoint := r.Packages, r.Command
	if len(packages) > 0 { // else there is nothing to run but the function
		packages, entrypoint = append(slices.Clone(packages), "tini"), append([]string{"/usr/bin/tini", "--"}, entrypoint...)
	}
	p := build.Packages{Names: packages, Exclude: r.Exclude, Run: r.Prepare}
	c := build.Contents{Files: trusted, Settings: ocispec.ImageConfig{
		Entrypoint: entrypoint,
		User:       user,
		Env:        append(slices.Clone(environment), "HOME=/tmp"),
		// A server has nothing to save, and what it is loading may handle any
		// signal: its pod would stay until the time of a call is over.
		StopSignal: "SIGKILL",
	}}
	if r.Compiled() {
		return compiled(r.Image, p, c, r.Server, files), nil
	}
	for name, data := range files {
		c.Files = append(c.Files, build.Addition{Path: "/" + name, Data: data, Mode: 0o644})
	}
	return packaged(r.Image, p, c), nil
}

// trust are the files that let functions of r check who they talk to.
func trust(r runtimes.Runtime) ([]build.Addition, error) {
	pem, err := build.Authorities()
	if err != nil {
		return nil, err
	}
	files := []build.Addition{{Path: build.Certificates, Data: pem, Mode: 0o644}}
	if r.KeyStore != "" {
		store, err := keystore.Trust(pem)
		if err != nil {
			return nil, err
		}
		files = append(files, build.Addition{Path: r.KeyStore, Data: store, Mode: 0o644})
	}
	return files, nil
}

// compiled is the recipe for an image of packages and a program, /server,
// compiled of the package in a folder of a Go module.
func compiled(name string, p build.Packages, c build.Contents, folder string, sources map[string][]byte) Recipe {
	return Recipe{
		Name: name,
		Key:  key(name, build.Release(), p, c, sources),
		Make: func(ctx context.Context, progress build.Progress) (*build.Image, error) {
			server, err := compile(ctx, folder, sources, progress)
			if err != nil {
				return nil, err
			}
			if len(p.Names) == 0 {
				return build.Program(server, "/server", c)
			}
			with := c
			with.Files = append(slices.Clone(c.Files), build.Addition{Path: "/server", Data: server, Mode: 0o755})
			return build.Debian(ctx, p, with, progress)
		},
	}
}

// Server compiles the server of a runtime whose server is compiled.
func Server(ctx context.Context, r runtimes.Runtime, progress build.Progress) ([]byte, error) {
	files, err := r.Files()
	if err != nil {
		return nil, err
	}
	return compile(ctx, r.Server, files, progress)
}

// compile makes a program of a Go module that Redoubt carries.
func compile(ctx context.Context, folder string, sources map[string][]byte, progress build.Progress) ([]byte, error) {
	dir, err := goModule("server", sources)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	_, program, err := build.GoBinary(ctx, dir, "./"+folder, progress)
	return program, err
}
