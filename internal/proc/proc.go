// Package proc reads what the kernel says of a process, from /proc (proc(5)).
// A process that has ended gives an error.
package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Memory is a process's, in bytes.
type Memory struct {
	// Resident counts every page that the process has (RSS), Share those that
	// several processes have in parts (PSS).
	Resident, Share int64
	// Own is the part of Share that belongs to no file: what it has written,
	// and memory shared without a name (memfd, tmpfs).
	Own int64
	// Anonymous is what it has written and shares with nobody by name.
	Anonymous int64
}

// MemoryOf reads /proc/PID/smaps_rollup.
func MemoryOf(pid int) (Memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	return parseMemory(string(data))
}

func parseMemory(rollup string) (m Memory, err error) {
	sizes := map[string]int64{}
	for line := range strings.Lines(rollup) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[2] == "kB" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return m, fmt.Errorf("memory of a process: %w", err)
			}
			sizes[fields[0]] = kib << 10
		}
	}
	if _, ok := sizes["Pss:"]; !ok {
		return m, errors.New("memory of a process: the kernel does not tell it")
	}
	return Memory{
		Resident: sizes["Rss:"], Share: sizes["Pss:"],
		Own: sizes["Pss_Anon:"] + sizes["Pss_Shmem:"], Anonymous: sizes["Anonymous:"],
	}, nil
}

// Times are the processor times that a process has used.
type Times struct {
	// Parent is the process that it is a child of.
	Parent int
	// Own is its own time, Children that of its children that have ended and
	// were waited for.
	Own, Children time.Duration
}

// TimesOf reads /proc/PID/stat, whose clock counts hundredths of a second.
func TimesOf(pid int) (Times, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Times{}, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return parseTimes(string(data))
}

// parseTimes skips the command, in brackets, which may hold spaces and
// brackets.
func parseTimes(stat string) (Times, error) {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	const parent, user, system, childUser, childSystem = 1, 11, 12, 13, 14
	var values [childSystem + 1]int64
	for _, at := range []int{parent, user, system, childUser, childSystem} {
		if at >= len(fields) {
			return Times{}, errors.New("processor time of a process: the kernel's line is short")
		}
		var err error
		if values[at], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return Times{}, fmt.Errorf("processor time of a process: %w", err)
		}
	}
	const tick = 10 * time.Millisecond
	return Times{
		Parent:   int(values[parent]),
		Own:      time.Duration(values[user]+values[system]) * tick,
		Children: time.Duration(values[childUser]+values[childSystem]) * tick,
	}, nil
}
