// Command imagetar writes the file system of the image as a tar archive: the binary, and the folder for the data. With an
// archive, owners and the capability of the binary do not depend on who builds the image, and with what.
//
//	imagetar BINARY ARCHIVE
package main

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// user is "nonroot" of the distroless images; a new volume on /target takes its owner from there.
const user = 65532

func main() {
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "imagetar:", err)
		os.Exit(1)
	}
}

func write(from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	archive, err := os.Create(to)
	if err != nil {
		return err
	}
	defer archive.Close()
	out := tar.NewWriter(archive)
	if err := out.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "restate", Mode: 0o755, Size: info.Size(),
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability()},
	}); err != nil {
		return err
	}
	if _, err := io.Copy(out, file); err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: "target/", Mode: 0o750, Uid: user, Gid: user,
	}); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return archive.Close()
}

// capability is CAP_CHOWN, permitted and not yet in effect, as the kernel stores it with a file: pkg/ownership uses it for
// fresh volumes. In effect from the start, the binary could not be run where the capability is taken away.
func capability() string {
	const revision, chown = 0x02000000, 1 << 0
	var attribute []byte
	for _, word := range []uint32{revision, chown, 0, 0, 0} {
		attribute = binary.LittleEndian.AppendUint32(attribute, word)
	}
	return string(attribute)
}
