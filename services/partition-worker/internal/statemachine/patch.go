package statemachine

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/storage"
)

// patchState replaces the state of a service instance, in its turn among the invocations of the instance.
func (s *step) patchState(command *logv1.PatchState) error {
	instance := storage.Instance{
		PartitionKey: command.GetPartitionKey(), Service: command.GetTarget().GetService(), Key: command.GetTarget().GetKey(),
	}
	lock, err := storage.GetLock(s.tx, instance)
	if err != nil {
		return err
	}
	if lock == nil {
		return s.replaceState(instance, command)
	}
	return storage.PutInbox(s.tx, instance, s.nextInInbox(), &storagev1.InboxEntry{PatchState: command})
}

// replaceState does it now, unless the state is not the one that the patch was made for.
func (s *step) replaceState(instance storage.Instance, patch *logv1.PatchState) error {
	if wanted := patch.GetVersion(); wanted != "" {
		version, err := s.stateVersion(instance)
		if err != nil || version != wanted {
			return err
		}
	}
	if err := storage.DeleteState(s.tx, s.tx, instance); err != nil {
		return err
	}
	for _, entry := range patch.GetEntries() {
		s.tx.Put(storage.StateKey(instance, entry.GetKey()), entry.GetValue())
	}
	return nil
}

// stateVersion names the content of an instance's state, as restate-server does.
func (s *step) stateVersion(instance storage.Instance) (string, error) {
	hash := sha256.New()
	index := uint64(0)
	err := storage.ScanState(s.tx, instance, func(key, value []byte) error {
		var position [8]byte
		binary.BigEndian.PutUint64(position[:], index)
		index++
		for _, part := range [][]byte{position[:], {1}, key, {2}, value, {3}} {
			hash.Write(part)
		}
		return nil
	})
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)), err
}
