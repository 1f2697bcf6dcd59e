package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Spool copies an archive from a stream, which may be compressed with gzip or
// zstd, to a nameless temporary file in dir; closing the file frees it. More
// than limit bytes are refused.
func Spool(r io.Reader, dir string, limit int64) (f *os.File, err error) {
	if f, err = os.CreateTemp(dir, ".image-*.tar"); err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("hide temporary file: %w", err)
	}
	plain, err := unpackAny(r)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	defer plain.Close()
	n, err := io.Copy(f, io.LimitReader(plain, limit+1))
	if err != nil {
		return nil, cutOff(fmt.Errorf("read archive: %w", err))
	}
	if n == 0 {
		return nil, errors.New("it is empty")
	}
	if n > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return f, nil
}

// Read opens an archive file, spooling it to dir only when it is compressed.
func Read(path, dir string, limits Limits) (images []Named, closer io.Closer, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, fmt.Errorf("it is a folder; where it holds an OCI layout, pipe it: tar -C %s -cf - . | redoubt image import -", path)
	}
	if !info.Mode().IsRegular() { // a shell's <(docker save ...), for example
		defer f.Close()
		return ReadStream(f, dir, limits)
	}
	start := make([]byte, 4)
	if _, err := f.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if sniff(start) == plain {
		images, err = Open(f, limits)
		return images, f, err
	}
	defer f.Close()
	return ReadStream(f, dir, limits)
}

// ReadStream opens an archive that can be read only once.
func ReadStream(r io.Reader, dir string, limits Limits) ([]Named, io.Closer, error) {
	f, err := Spool(r, dir, limits.Archive.Bytes)
	if err != nil {
		return nil, nil, err
	}
	images, err := Open(f, limits)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return images, f, nil
}
