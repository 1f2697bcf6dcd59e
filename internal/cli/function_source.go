package cli

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

var checksumForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// isURL says whether a source is to be fetched.
func isURL(name string) bool {
	return strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// checkSource refuses flags about the source that contradict each other.
func (f *functionFlags) checkSource() error {
	given := f.set.Changed("checksum")
	switch {
	case given && !checksumForm.MatchString(f.checksum):
		return fmt.Errorf("--checksum %q is not sha256: and 64 hexadecimal digits", f.checksum)
	case given && !f.set.Changed("from-file"):
		return errors.New("--checksum is that of what --from-file names: give both")
	case !given && strings.HasPrefix(f.file, "http://"):
		return errors.New("--from-file: what comes over http:// could be anybody's: use https://, or say what it must be with --checksum")
	}
	return nil
}

// applySource reads the source from where --from-file says: a file, a folder,
// a URL, or the standard input. Archives are known by how they begin.
func (f *functionFlags) applySource(cmd *cobra.Command, fn *kubeless.Function) error {
	if !f.set.Changed("from-file") {
		return nil
	}
	var err error
	if f.read == nil { // else an update is tried again, and the standard input has ended
		f.read, err = f.readSource(cmd)
	}
	if err == nil {
		// Without --checksum there is none, which would only be in the way of
		// who changes the source with kubectl.
		fn.Spec.Checksum = f.checksum
		f.archive, err = setSource(fn, f.read)
	}
	if err != nil {
		return fmt.Errorf("--from-file: %w", err)
	}
	return nil
}

// applyDependencies reads the file that --dependencies names.
func (f *functionFlags) applyDependencies(fn *kubeless.Function) error {
	if !f.set.Changed("dependencies") {
		return nil
	}
	fn.Spec.Deps = ""
	if f.dependencies == "" {
		return nil
	}
	data, err := readFile(f.dependencies)
	if err == nil && len(data) > maxDependencies {
		err = fmt.Errorf("it has %d bytes, and the API takes %d; put it into the source's folder", len(data), maxDependencies)
	}
	if err == nil && !utf8.Valid(data) {
		err = errors.New("it is no text in UTF-8")
	}
	if err != nil {
		return fmt.Errorf("--dependencies: %w", err)
	}
	fn.Spec.Deps = string(data)
	return nil
}

// maxDependencies is what the API takes of them, in bytes.
const maxDependencies = 200_000

// setSource puts data into fn in the form that the API takes, and refuses what
// the cluster would. Above what a Function takes, it returns the archive whose
// parts fn names.
func setSource(fn *kubeless.Function, data []byte) (archive []byte, err error) {
	form, unpacked := source.Recognize(data)
	if unpacked {
		if data, err = packed(data); err != nil {
			return nil, err
		}
		fn.Spec.Checksum = "" // it was that of other bytes
	}
	large := false
	if lang, err := runtimes.Get(fn.Spec.Runtime); err == nil { // what else is said of the runtime
		files, err := source.Files(form, data, kubeless.Module(fn)+lang.Extension, source.Large)
		if err != nil {
			return nil, err
		}
		large = source.Small.Hold(files) != nil
		if form == source.Plain && (large || len(encode(fn, form, data)) > maxSource) {
			form = source.Zip
			if data, err = source.Pack(files); err != nil {
				return nil, err
			}
		}
	}
	if fn.Spec.Function = encode(fn, form, data); large || len(fn.Spec.Function) > maxSource {
		return data, inParts(fn, form, data)
	}
	return nil, nil
}

// encode returns data as a Function has it, and says how in its spec.
func encode(fn *kubeless.Function, form source.Form, data []byte) string {
	fn.Spec.FunctionContentType = "base64"
	if form != source.Plain {
		fn.Spec.FunctionContentType += "+" + string(form)
	} else if utf8.Valid(data) {
		fn.Spec.FunctionContentType = "text"
		return string(data)
	}
	return base64.StdEncoding.EncodeToString(data)
}

// maxSource is what the API takes of a function's source, in bytes.
const maxSource = 1_000_000

func packed(tar []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(tar)
	return out.Bytes(), errors.Join(err, w.Close())
}

// readSource returns a file's content, or a folder as a zip archive, and
// checks it against --checksum.
func (f *functionFlags) readSource(cmd *cobra.Command) ([]byte, error) {
	info, err := os.Stat(f.file)
	isFolder := err == nil && info.IsDir()
	var data []byte
	switch {
	case isFolder && f.checksum != "":
		return nil, errors.New("a folder has no checksum: leave --checksum out, or name an archive")
	case isFolder:
		return readFolder(f.file)
	case f.file == "-":
		data, err = readBounded(cmd.InOrStdin(), "the standard input")
	case isURL(f.file):
		data, err = f.fetch(cmd)
	default:
		data, err = readFile(f.file)
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if got := "sha256:" + hex.EncodeToString(sum[:]); f.checksum != "" && got != f.checksum {
		return nil, fmt.Errorf("%s has the checksum %s, not the %s that --checksum names", f.file, got, f.checksum)
	}
	return data, nil
}

func readFolder(dir string) ([]byte, error) {
	files, err := source.Folder(dir, source.Large)
	if err != nil {
		return nil, err
	}
	return source.Pack(files)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, name)
}

// fetch gets a URL from here: with the rights and the network of who deploys,
// not with the cluster's.
func (f *functionFlags) fetch(cmd *cobra.Command) ([]byte, error) {
	client := &http.Client{Timeout: time.Minute, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		const most = 10
		if len(via) == most {
			return fmt.Errorf("more than %d redirections", most)
		}
		if req.URL.Scheme != "https" && f.checksum == "" {
			return errors.New("it leads to http://, where it could be anybody's: say what it must be with --checksum")
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, f.file, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch the source: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the source: %s answered %s", f.file, resp.Status)
	}
	return readBounded(resp.Body, f.file)
}

func readBounded(in io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, source.MaxArchive+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	case len(data) > source.MaxArchive:
		return nil, fmt.Errorf("%s has more than the %d bytes that a function's source may have; make an image of it and name that with --runtime-image", name, source.MaxArchive)
	}
	return data, nil
}
