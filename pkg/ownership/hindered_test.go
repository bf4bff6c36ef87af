package ownership_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const noFilter = "this kernel filters no system calls"

// deny has the system call with the number fail with EPERM in this thread, and in the program that it starts.
func deny(number string) error {
	call, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(call)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// It is what the kernel asks of those who have no capability to filter; those there are stay until the next program.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	if errors.Is(err, unix.EINVAL) {
		return errors.New(noFilter)
	}
	return err
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// Only a capability that cannot be renounced ends the start. Whatever else fails, the folder may be of use.
func TestWhereSomethingIsDenied(t *testing.T) {
	for name, c := range map[string]struct {
		call            uintptr
		ofRoot, ofOwner int // how the program exits with a fresh folder of root, and with one of its own
		renounced       bool
	}{
		"to read the capabilities":   {unix.SYS_CAPGET, 2, 0, false},
		"to change the owner":        {unix.SYS_FCHOWNAT, 2, 0, true},
		"to change the capabilities": {unix.SYS_CAPSET, 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := program(t, true)
			folder := volume(t, path)
			command := append(strings.Fields(asUser), path)
			environment := []string{taker + "=" + folder, fmt.Sprintf("%s=%d", denier, c.call)}
			for _, code := range []int{c.ofRoot, c.ofOwner} {
				output, err := start(t, command, environment...)
				if strings.Contains(output, noFilter) {
					t.Skip(noFilter)
				}
				require.Equal(t, code, exitCode(err), output)
				require.Equal(t, c.renounced, strings.Contains(output, "CapPrm:\t0000000000000000\n"), output)
				require.NoError(t, os.Chown(folder, user, user))
			}
		})
	}
}

// Without /proc, the program is found by its name.
func TestWithoutProc(t *testing.T) {
	path := program(t, true)
	folder := volume(t, path)
	const hide = "mount -t tmpfs none /proc"
	if output, err := start(t, []string{"unshare", "--mount", "sh", "-c", hide}); err != nil {
		t.Skipf("nothing may be mounted here: %s", output)
	}
	command := append([]string{"unshare", "--mount", "sh", "-c", hide + ` && exec "$@"`, "sh"}, strings.Fields(asUser)...)
	output, err := start(t, append(command, path), taker+"="+folder)
	require.NoError(t, err, output)
	require.Equal(t, uint32(user), owner(t, folder))
	require.Contains(t, output, "CapPrm:\t0000000000000000\n")
}
