package ids

import (
	"encoding/binary"
	"math/bits"
)

// RandomSeed returns what a handler draws its random numbers from: SipHash-1-3, with a key of zeros, over the length of
// the id as a little-endian 64-bit integer followed by the id, as in restate-server. It is the
// same for the life of the invocation.
func (id InvocationID) RandomSeed() uint64 {
	v := sipState{0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573}
	v.absorb(InvocationIDSize)
	for word := 0; word < InvocationIDSize; word += 8 {
		v.absorb(binary.LittleEndian.Uint64(id[word:]))
	}
	const length = 8 + InvocationIDSize
	v.absorb(length << 56)
	v[2] ^= 0xff
	for range 3 {
		v.round()
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

// sipState is the state of SipHash (Aumasson and Bernstein, 2012). No library that we know has its 1-3 form.
type sipState [4]uint64

func (v *sipState) absorb(word uint64) {
	v[3] ^= word
	v.round()
	v[0] ^= word
}

func (v *sipState) round() {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}
