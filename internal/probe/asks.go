package probe

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// HostFolder is where an attempt looks for a folder of the node's, HostAddress
// the variable in which it finds the node's address.
const (
	HostFolder  = "/host"
	HostAddress = "HOST_IP"
)

// asks tell, in a pod that asked for it, whether the pod has what a field of its
// specification says. They are by the field's path.
var asks = map[string]func() error{
	"hostNetwork":      hostNetwork,
	"hostPID":          hostProcesses,
	"hostIPC":          hostIPC,
	"hostUsers":        ownUsers,
	"volumes.hostPath": hostFolder,
}

// Ask makes the attempt for one field.
func Ask(field string) Report {
	try, known := asks[field]
	if !known {
		return Report{Can: map[string]string{field: "there is no such attempt"}}
	}
	return Report{Can: map[string]string{field: answer(try())}}
}

func answer(err error) string {
	if err != nil {
		return err.Error()
	}
	return Works
}

func hostNetwork() error {
	want := os.Getenv(HostAddress)
	all, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, address := range all {
		if own, ok := address.(*net.IPNet); ok && own.IP.String() == want {
			return nil
		}
	}
	return fmt.Errorf("no interface has the node's address %q", want)
}

// hostProcesses counts: a pod has the container's process, perhaps that of the
// pod itself, and few more; a node has dozens.
func hostProcesses() error {
	const few = 8
	seen, err := filepath.Glob("/proc/[0-9]*")
	if err == nil && len(seen) <= few {
		err = fmt.Errorf("the pod sees %d processes, its own", len(seen))
	}
	return err
}

// hostIPC leaves a segment of memory for the next pod that makes the attempt,
// which takes it away: only a namespace that is not the pod's own outlives it.
func hostIPC() error {
	const key, size, mode = 0x7265646f, 4096, 0o600
	if id, err := unix.SysvShmGet(key, size, mode); err == nil {
		_, err = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		return err
	}
	if _, err := unix.SysvShmGet(key, size, unix.IPC_CREAT|mode); err != nil {
		return err
	}
	return errors.New("what another pod left is not there")
}

func ownUsers() error {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	if fields := strings.Fields(string(users)); len(fields) < 3 || fields[0] != "0" || fields[1] == "0" {
		return fmt.Errorf("the users are those of the node: %q", strings.Join(fields, " "))
	}
	return nil
}

func hostFolder() error {
	entries, err := os.ReadDir(HostFolder)
	if err == nil && len(entries) == 0 {
		err = errors.New("the folder is empty")
	}
	return err
}
