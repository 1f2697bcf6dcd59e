package image

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/runtimes"
)

// generation is part of every recipe's key. Raise it when building changes
// what images hold.
const generation = 1

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

// makeHelloWorld compiles the source that Redoubt carries in a module of its
// own, so that it needs neither a checkout nor anything from the network.
func makeHelloWorld(ctx context.Context, progress build.Progress) (*build.Image, error) {
	dir, err := os.MkdirTemp("", "redoubt-helloworld-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)
	for name, data := range map[string][]byte{"main.go": helloworld, "go.mod": []byte("module helloworld-go\n\ngo 1.21\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	return build.GoProgram(ctx, dir, ".", build.Contents{}, progress)
}

// Runtime is the image that runs functions of a language.
func Runtime(r runtimes.Runtime) (Recipe, error) {
	server, err := r.Source()
	if err != nil {
		return Recipe{}, err
	}
	return packaged(r.Image, build.Packages{Names: r.Packages, Exclude: r.Exclude, Run: r.Prepare}, build.Contents{
		Files: []build.Addition{{Path: "/" + path.Base(r.Server), Data: server, Mode: 0o644}},
		Settings: ocispec.ImageConfig{
			Entrypoint: r.Command,
			User:       "1000:1000",
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"},
		},
	}), nil
}
