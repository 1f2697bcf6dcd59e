package build

import (
	"compress/gzip"
	"context"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"redoubt.dev/redoubt/internal/image/layer"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

// Archive is a tar file, packed with gzip, that anybody may serve: its content is
// known by its digest.
type Archive struct {
	URL string
	// SHA512 is the digest of the packed file, in base64.
	SHA512 string
	// Folder is the part of the archive that is wanted, Path where it goes.
	Folder, Path string
}

// archiveLimits bound what an archive unpacks to, maxPacked what it is fetched as.
var archiveLimits = tarfile.Limits{Entries: 50_000, Bytes: 256 << 20}

const maxPacked = 64 << 20

// add fetches the archive into tree. The file must stay open until the tree has
// been written.
func (a Archive) add(ctx context.Context, tree *layer.Tree, progress Progress) (io.Closer, error) {
	progress("fetch " + a.URL)
	f, err := os.CreateTemp("", ".archive-*.tar")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	err = errors.Join(os.Remove(f.Name()), a.fetch(ctx, f))
	if err == nil {
		err = tree.Foreign(a.Path, f, a.Folder, archiveLimits)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fetch %s: %w", a.URL, err), f.Close())
	}
	return f, nil
}

// fetch writes the unpacked archive to out. What comes is not used before all of
// it is what it must be.
func (a Archive) fetch(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	sum := sha512.New()
	packed := io.TeeReader(io.LimitReader(resp.Body, maxPacked), sum)
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	most := archiveLimits.Bytes * 2 // headers count as well
	if n, err := io.Copy(out, io.LimitReader(plain, most)); err != nil || n == most {
		return errors.Join(err, fmt.Errorf("it cannot be unpacked to less than %d bytes", most))
	}
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); subtle.ConstantTimeCompare([]byte(got), []byte(a.SHA512)) != 1 {
		return fmt.Errorf("its SHA-512 is %s, not %s", got, a.SHA512)
	}
	return nil
}
