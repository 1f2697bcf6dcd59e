package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// longestLine is the longest entry that is read, in bytes. An API server takes
// no request whose head could make a longer one.
const longestLine = 4 << 20

// Read returns what the filter wants of a log and of those that it followed
// (FILE.log, then FILE-TIME.log), in the order in which they were written.
func Read(file string, filter Filter) ([]Record, error) {
	before, err := filepath.Glob(strings.TrimSuffix(file, ".log") + "-*.log")
	if err != nil {
		return nil, fmt.Errorf("find the audit log: %w", err)
	}
	slices.Sort(before) // by time
	records := []Record{}
	for _, name := range append(before, file) {
		if records, err = readFile(name, filter, records); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
	}
	return records, nil
}

func readFile(name string, filter Filter, records []Record) ([]Record, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return records, nil // it has got another name, or made room, meanwhile
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.ModTime().Before(filter.Since) {
		return records, err
	}
	return scan(f, filter, records)
}

// scan goes on after a line that is too long: nobody hides what follows it.
func scan(r io.Reader, filter Filter, records []Record) ([]Record, error) {
	lines := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if err = skip(lines); err == nil {
				continue
			}
		}
		if err == nil {
			if record := filter.record(line); record != nil {
				records = append(records, *record)
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return records, nil // a last line without an end is still being written
		}
		return nil, err
	}
}

// skip leaves out the rest of a line.
func skip(lines *bufio.Reader) error {
	for {
		_, err := lines.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
