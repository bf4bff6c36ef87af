package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/restate-go/restate/pkg/errcode"
)

// ErrLocked means that another process stores its streams in the directory. The server itself does not notice, and two
// that write to the same streams destroy them.
var ErrLocked = errors.New("the streams are in use by another process")

// lock takes the directory for this process, creating it if needed. The lock ends when the file is closed, or with the
// process, however it dies.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("directory of the broker: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the broker: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errcode.Wrap(errcode.DatabaseLocked, fmt.Errorf("%s: %w", dir, ErrLocked))
	case err != nil:
		err = fmt.Errorf("lock of the broker in %s: %w", dir, err)
	default:
		return file, nil
	}
	return nil, errors.Join(err, file.Close())
}
