package runtimes

import (
	"bytes"
	"slices"
)

// Build is how what a function needs is made of its source: dependencies are
// installed, or the source is compiled. It runs in a sandbox of the function's
// own class, and its result becomes a layer over the runtime's image.
type Build struct {
	// Image runs Script; it is built from Packages and Archives.
	Image    string
	Packages []string
	Archives []Archive
	// Toolchain puts the machine's Go into the image, and what functions in Go are
	// written against.
	Toolchain bool
	// Script is a file of this package, for /bin/sh, if there is anything to do. It
	// begins in an empty folder, finds the function's files in $FUNC_FOLDER, and
	// leaves the result in out.
	Script string
	// Manifest is the file that names what the function depends on. Others are
	// read beside it.
	Manifest string
	Others   []string
	// Whole says that the script reads all of the source, whether it has a
	// manifest or not.
	Whole bool
	// Env are variables of the function that the script gets as well: their
	// names, or what these begin with where it ends in an underscore.
	Env []string
	// Into is the folder of the function's image that the result becomes.
	Into string
}

// Archive is a file of npm's registry, packed with gzip, by its SHA-512 in base64.
type Archive struct{ URL, SHA512, Folder, Path string }

// proxies lead tools out where there is no direct way.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

// shell is what the scripts need.
var shell = []string{"coreutils", "dash"}

var builds = map[string]*Build{
	"go": {
		Image:     "localhost/redoubt/go-build:latest",
		Packages:  shell,
		Toolchain: true,
		Script:    "go/build.sh",
		Manifest:  "go.mod",
		Whole:     true,
		Env:       slices.Concat([]string{"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE"}, proxies),
		Into:      "/function",
	},
	"nodejs": {
		Image:    "localhost/redoubt/nodejs-build:latest",
		Packages: slices.Concat([]string{"nodejs"}, shell),
		// Debian has npm in hundreds of packages, and whoever packages Node.js
		// otherwise has another version of it.
		Archives: []Archive{{
			URL:    "https://registry.npmjs.org/npm/-/npm-10.9.4.tgz",
			SHA512: "OnUG836FwboQIbqtefDNlyR0gTHzIfwRfE3DuiNewBvnMnWEpB0VEXwBlFVgqpNzIgYo/MHh3d2Hel/pszapAA==",
			Folder: "package", Path: "/opt/npm",
		}},
		Script:   "nodejs/build.sh",
		Manifest: "package.json",
		Others:   []string{"package-lock.json", "npm-shrinkwrap.json", ".npmrc"},
		Env:      slices.Concat([]string{"NPM_CONFIG_", "npm_config_"}, proxies),
		Into:     "/node_modules", // where Node.js looks in the end, from /kubeless
	},
	"python3": {
		Image:    "localhost/redoubt/python3-build:latest",
		Packages: slices.Concat([]string{"python3", "python3-pip"}, shell),
		Script:   "python3/build.sh",
		Manifest: "requirements.txt",
		Others:   []string{"constraints.txt"},
		Env:      slices.Concat([]string{"PIP_"}, proxies),
		Into:     "/dependencies",
	},
}

// unpack is the build of a runtime that has none, for sources that are above what
// a Function takes.
var unpack = &Build{Image: "localhost/redoubt/source-build:latest"}

// Builds is what makes layers for functions of r: its Build, or one that only
// unpacks sources that are above what a Function takes.
func (r Runtime) Builds() *Build {
	if r.Build == nil {
		return unpack
	}
	return r.Build
}

// SourceFolder is where functions find their files. Where a build unpacks them,
// it is the folder of the function's image that they become.
const SourceFolder = "/kubeless"

// SDK is the module that functions in Go are written against, by the paths in it.
// It is of folders of this package, which have other names there.
func SDK() (map[string][]byte, error) {
	const module = "github.com/kubeless/kubeless"
	files := map[string][]byte{"go.mod": []byte("module " + module + "\n\ngo 1.22\n")}
	for folder, into := range map[string]string{"contract": "contract", "lend": "lend", "go/functions": "pkg/functions"} {
		sources, err := read(folder + "/*.go")
		if err != nil {
			return nil, err
		}
		for name, data := range sources {
			files[into+"/"+name] = bytes.ReplaceAll(data, []byte(`"`+modulePath+`/`), []byte(`"`+module+`/`))
		}
	}
	return files, nil
}

// Takes says whether the build gets a variable of the function.
func (b *Build) Takes(variable string) bool {
	return slices.ContainsFunc(b.Env, func(name string) bool {
		return variable == name || name[len(name)-1] == '_' && len(variable) > len(name) && variable[:len(name)] == name
	})
}
