package ids

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// DeploymentID names an endpoint that describes itself by a manifest. It is a ULID: 48 bits of milliseconds and 80
// random ones.
type DeploymentID [16]byte

const deploymentPrefix = "dp_1"

// NewDeploymentID returns a fresh id, made at the time.
func NewDeploymentID(at time.Time) DeploymentID {
	var id DeploymentID
	_, _ = rand.Read(id[6:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	return id
}

// DeploymentIDOf returns the id of an endpoint in the form of a deployment's: one that is named by its URI has another form,
// which programs of today cannot read, so its id is hashed.
func DeploymentIDOf(endpointID string) string {
	if strings.HasPrefix(endpointID, deploymentPrefix) {
		return endpointID
	}
	hash := sha256.Sum256([]byte(endpointID))
	return DeploymentID(hash[:len(DeploymentID{})]).String()
}

// String returns the printable form, dp_1 and 22 base62 digits, as restate-server prints it.
func (id DeploymentID) String() string {
	var out [len(deploymentPrefix) + uuidDigits]byte
	copy(out[:], deploymentPrefix)
	// The integer is printed with its bytes reversed.
	putBase62(out[len(deploymentPrefix):], binary.LittleEndian.Uint64(id[8:]), binary.LittleEndian.Uint64(id[:8]))
	return string(out[:])
}

// ParseDeploymentID reads the printable form. The error wraps ErrInvalid.
func ParseDeploymentID(s string) (DeploymentID, error) {
	var id DeploymentID
	digits, ok := strings.CutPrefix(s, deploymentPrefix)
	if !ok || len(digits) != uuidDigits {
		return id, fmt.Errorf("%w: %.64q is not a deployment id", ErrInvalid, s)
	}
	hi, lo, err := parseBase62(digits)
	if err != nil {
		return id, fmt.Errorf("%w: %.64q is not a deployment id", ErrInvalid, s)
	}
	binary.LittleEndian.PutUint64(id[:8], lo)
	binary.LittleEndian.PutUint64(id[8:], hi)
	return id, nil
}
