// Package ownership lets a process that is not root write to a fresh volume that belongs to root, as block storage of
// Kubernetes does where no fsGroup is set. The binary in the image has the capability to change owners; it is used for
// that one folder, and is gone before anything else is done.
package ownership

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// lostAndFound is what a fresh ext4 file system has in it.
const lostAndFound = "lost+found"

// Take makes the folder the process's own if it belongs to root, cannot be written to, and has nothing in it. Where the
// process has no capability for that, or it is of no use, the folder stays as it is; the failure to write says more. Where
// it has one, Take does not return but for an error: it starts the program anew, in the same process, without the
// capability and without a way to get it again. That this did not succeed is the only error. Take has to be called before
// there is anything that must not be lost.
func Take(folder string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	// Capabilities are those of a thread. This one is the first of the new program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if !capable() {
		return nil
	}
	if fresh(folder) {
		own(folder)
	}
	return renounce()
}

// capable tells whether the process may give itself the capability. Where it is not told, it is as if it may not.
func capable() bool {
	var data [2]unix.CapUserData
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
	return err == nil && data[0].Permitted&(1<<unix.CAP_CHOWN) != 0
}

// own makes the folder the process's own, where the file system lets it: one of the network may not.
func own(folder string) {
	if set([2]unix.CapUserData{{Effective: 1 << unix.CAP_CHOWN, Permitted: 1 << unix.CAP_CHOWN}}) == nil {
		_ = os.Chown(folder, os.Geteuid(), os.Getegid()) // the folder may be of use all the same
	}
}

// renounce starts the program anew without capabilities. It returns only with an error.
func renounce() error {
	if err := set([2]unix.CapUserData{}); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("renounce privileges: %w", err)
	}
	path := "/proc/self/exe"
	if _, err := os.Stat(path); err != nil { // there is no /proc
		if path, err = exec.LookPath(os.Args[0]); err != nil {
			return fmt.Errorf("find the program: %w", err)
		}
	}
	//nolint:gosec,forbidigo // the new program is this one, with the same arguments and environment
	err := syscall.Exec(path, os.Args, os.Environ())
	return fmt.Errorf("start the program without privileges: %w", err)
}

// fresh tells whether the folder is one to take: whatever it is otherwise, it belongs to somebody.
func fresh(folder string) bool {
	var info unix.Stat_t
	if unix.Stat(folder, &info) != nil || info.Uid != 0 || !errors.Is(unix.Access(folder, unix.W_OK), unix.EACCES) {
		return false
	}
	entries, err := os.ReadDir(folder)
	return err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == lostAndFound)
}

func set(data [2]unix.CapUserData) error {
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Errorf("change the capabilities: %w", err)
	}
	return nil
}
