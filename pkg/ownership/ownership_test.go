package ownership_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/restate-go/restate/pkg/ownership"
)

const (
	// taker is the variable that makes this test binary the program under test: it has the folder to take.
	taker = "OWNERSHIP_TEST_TAKE"
	// denier is the variable with the number of a system call that the program is not to make; empty for none.
	denier = "OWNERSHIP_TEST_DENY"
)

func TestMain(m *testing.M) {
	//nolint:forbidigo // they are given to the program by the tests
	folder, denied := os.Getenv(taker), os.Getenv(denier)
	if folder == "" {
		os.Exit(m.Run())
	}
	if denied != "" {
		if err := deny(denied); err != nil {
			fmt.Fprintln(os.Stdout, err)
			os.Exit(3)
		}
	}
	os.Exit(take(folder))
}

// take prints what the program may do once Take has returned, and writes to the folder.
func take(folder string) int {
	if err := ownership.Take(folder); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		status, err = statusWithoutProc()
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") {
			fmt.Fprint(os.Stdout, line)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "written"), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 2
	}
	return 0
}

// statusWithoutProc is what can be told where there is no /proc.
func statusWithoutProc() ([]byte, error) {
	var data [2]unix.CapUserData
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
	return fmt.Appendf(nil, "CapPrm:\t%08x%08x\n", data[1].Permitted, data[0].Permitted), err
}

const (
	user = 65532
	// asUser starts a program as the user of the image, with no more than what its file gives it.
	asUser = "setpriv --reuid=65532 --regid=65532 --clear-groups"
)

// program is a copy of this test binary, in a folder that everybody may enter. With the capability, it is as in the image.
func program(t *testing.T, capable bool) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away and start processes of others")
	}
	//nolint:usetesting // its folders are closed to other users
	dir, err := os.MkdirTemp("", "ownership")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	self, err := os.Executable()
	require.NoError(t, err)
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	var mounted unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &mounted))
	if capable && mounted.Flags&unix.ST_NOSUID != 0 {
		t.Skip("this file system is mounted so that files give no capabilities")
	}
	path := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(path, content, 0o755))
	if capable {
		// Revision 2 of struct vfs_cap_data, with what is permitted in the second word.
		var attribute [20]byte
		binary.LittleEndian.PutUint32(attribute[0:], 0x02000000)
		binary.LittleEndian.PutUint32(attribute[4:], 1<<unix.CAP_CHOWN)
		if err := unix.Setxattr(path, "security.capability", attribute[:], 0); err != nil {
			t.Skipf("this file system stores no capabilities: %v", err)
		}
	}
	return path
}

// volume makes a folder of root with the entries in it, as a volume is mounted.
func volume(t *testing.T, path string, entries ...string) string {
	t.Helper()
	folder := filepath.Join(filepath.Dir(path), "target")
	require.NoError(t, os.Mkdir(folder, 0o755))
	for _, entry := range entries {
		require.NoError(t, os.Mkdir(filepath.Join(folder, entry), 0o700))
	}
	return folder
}

// run starts the program as the user of the image, with further options of setpriv, or another command around it.
func run(t *testing.T, path, folder string, options ...string) (string, error) {
	t.Helper()
	return start(t, append(append(strings.Fields(asUser), options...), path), taker+"="+folder)
}

func start(t *testing.T, command []string, environment ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...) //nolint:forbidigo // to find setpriv
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	var info unix.Stat_t
	require.NoError(t, unix.Stat(path, &info))
	return info.Uid
}

func TestTakesAFreshVolumeAndRenounces(t *testing.T) {
	for _, entries := range [][]string{nil, {"lost+found"}} {
		path := program(t, true)
		folder := volume(t, path, entries...)
		output, err := run(t, path, folder)
		require.NoError(t, err, output)
		require.Equal(t, uint32(user), owner(t, folder))
		require.Equal(t, uint32(user), owner(t, filepath.Join(folder, "written")))
		for _, kind := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			require.Contains(t, output, kind+":\t0000000000000000\n")
		}
		require.Contains(t, output, "NoNewPrivs:\t1\n")
		// The next start has nothing to take, and no more rights than this one.
		again, err := run(t, path, folder)
		require.NoError(t, err, again)
		require.Equal(t, output, again)
	}
}

func TestLeavesWhatIsInUse(t *testing.T) {
	path := program(t, true)
	folder := volume(t, path, "lost+found", "db")
	output, err := run(t, path, folder)
	require.ErrorContains(t, err, "exit status 2", output)
	require.Contains(t, output, "permission denied")
	require.Contains(t, output, "CapPrm:\t0000000000000000\n")
	require.Zero(t, owner(t, folder))
}

// Without the capability in the file, or where it is taken away as the restricted profile does, the program starts all the
// same, and writes where it may.
func TestWithoutTheCapability(t *testing.T) {
	for name, c := range map[string]struct {
		capable bool
		options []string
	}{
		"not in the file":      {false, nil},
		"no new privileges":    {true, []string{"setpriv", "--no-new-privs"}},
		"dropped from the pod": {true, []string{"--bounding-set=-all"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := program(t, c.capable)
			folder := volume(t, path)
			output, err := run(t, path, folder, c.options...)
			require.ErrorContains(t, err, "exit status 2", output)
			require.Zero(t, owner(t, folder))
			require.NoError(t, os.Chown(folder, user, user))
			output, err = run(t, path, folder, c.options...)
			require.NoError(t, err, output)
		})
	}
}
