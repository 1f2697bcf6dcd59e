package loud

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the kernel's unit of processor time in /proc, the same on every
// machine that Linux runs on (USER_HZ, proc(5)).
const tick = time.Second / 100

// shimTime is what a shim has used of a processor; another process is none.
func shimTime(pid int) (used time.Duration, ok bool) {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if !bytes.HasPrefix(name, []byte("containerd-shim")) { // it is cut at 15 characters
		return 0, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	return parseStat(stat)
}

// parseStat reads the user and system time of a line of /proc/PID/stat, which
// are its fields 14 and 15 (proc_pid_stat(5)); the name in field 2 may have
// anything in it.
func parseStat(stat []byte) (used time.Duration, ok bool) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, false
	}
	for _, f := range [][]byte{fields[user], fields[system]} {
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, false
		}
		used += time.Duration(ticks) * tick
	}
	return used, true
}

func running(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}
