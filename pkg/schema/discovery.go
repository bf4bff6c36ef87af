package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	protocol "github.com/restate-go/restate/proto/gen/dev/restate/service"

	"github.com/restate-go/restate/pkg/errcode"
)

// Discovery is what an endpoint answered to discovery: descriptors, or a manifest.
type Discovery struct {
	// Mode is how messages are exchanged with the endpoint.
	Mode ProtocolMode
	// MinProtocolVersion and MaxProtocolVersion are the service protocols that it speaks; both 0 is that of 2023, whose
	// endpoints send descriptors.
	MinProtocolVersion, MaxProtocolVersion uint32
	// Compression is what the endpoint can decompress where it is a function; empty for nothing.
	Compression string
	// Services in the order of the answer.
	Services []*Service

	stored []byte
	hash   string
}

// ReadDescriptors reads the answer of a 2023 SDK. The error is an *errcode.Error with DiscoveryFailed, or a code of Load.
func ReadDescriptors(body []byte) (*Discovery, error) {
	response, err := ParseDiscovery(body)
	if err != nil {
		return nil, errcode.Wrap(errcode.DiscoveryFailed, fmt.Errorf("the answer is no discovery response: %w", err))
	}
	stored, err := encode(response.GetFiles(), response.GetServices())
	if err != nil {
		return nil, err
	}
	mode := ModeBidiStream
	if response.GetProtocolMode() == protocol.ProtocolMode_REQUEST_RESPONSE {
		mode = ModeRequestResponse
	}
	return newDiscovery(&Discovery{Mode: mode, stored: stored})
}

// ReadManifest reads the answer of today's SDKs. The error is an *errcode.Error with BadManifest, UnsupportedProtocol or
// BadService.
func ReadManifest(body []byte) (*Discovery, error) {
	manifest, err := ParseManifest(body)
	if err != nil {
		return nil, err
	}
	d := &Discovery{Compression: manifest.LambdaCompression}
	if d.Mode, err = manifest.Mode(); err != nil {
		return nil, err
	}
	if d.MinProtocolVersion, d.MaxProtocolVersion, err = manifest.Versions(); err != nil {
		return nil, err
	}
	if d.stored, err = canonicalJSON(body); err != nil {
		return nil, errcode.Wrap(errcode.BadManifest, err)
	}
	return newDiscovery(d)
}

func newDiscovery(d *Discovery) (*Discovery, error) {
	// What every daemon will read is what has to be right.
	discovered, err := decode(d.stored)
	if err != nil {
		return nil, err
	}
	if len(discovered.Services) == 0 {
		return nil, errcode.Wrap(errcode.DiscoveryFailed, errors.New("the endpoint serves no services"))
	}
	sum := sha256.Sum256(d.stored)
	d.Services, d.hash = discovered.Services, hex.EncodeToString(sum[:])
	return d, nil
}

// canonicalJSON writes the same value always in the same way. Members that this release does not know are kept.
func canonicalJSON(body []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode the manifest: %w", err)
	}
	return json.Marshal(value)
}

// encode returns what is stored of an endpoint's descriptors and services: all but the comments and positions of the
// source, which are most of what SDKs send.
func encode(set *descriptorpb.FileDescriptorSet, names []string) ([]byte, error) {
	slim := &descriptorpb.FileDescriptorSet{}
	for _, file := range set.GetFile() {
		file = proto.CloneOf(file)
		file.SourceCodeInfo = nil
		slim.File = append(slim.File, file)
	}
	stored, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(&protocol.ServiceDiscoveryResponse{Files: slim, Services: names})
	if err != nil {
		return nil, errcode.Wrap(errcode.DiscoveryFailed, fmt.Errorf("encode the descriptors: %w", err))
	}
	return stored, nil
}

// ParseDiscovery decodes the descriptors in an answer to discovery. Options that are still the text of their source may
// lack required fields: the SDKs' descriptor library leaves out what has the default value of JavaScript.
func ParseDiscovery(body []byte) (*protocol.ServiceDiscoveryResponse, error) {
	response := &protocol.ServiceDiscoveryResponse{}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(body, response); err != nil {
		return nil, fmt.Errorf("decode a discovery response: %w", err)
	}
	return response, nil
}

// decode reads what is stored of a discovery. Descriptors cannot begin with a brace.
func decode(stored []byte) (*Discovered, error) {
	if len(stored) > 0 && stored[0] == '{' {
		manifest, err := ParseManifest(stored)
		if err != nil {
			return nil, err
		}
		return manifest.Load()
	}
	response, err := ParseDiscovery(stored)
	if err != nil {
		return nil, errcode.Wrap(errcode.RegistryUnusable, err)
	}
	return Load(response.GetFiles(), response.GetServices())
}
