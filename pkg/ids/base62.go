package ids

import (
	"errors"
	"math/bits"
)

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

var errDigits = errors.New("not a base62 number in range")

// digits maps a byte to its value in the alphabet, or to 0xff.
var digits = func() (table [256]byte) { //nolint:gochecknoglobals // a table that nothing writes
	for i := range table {
		table[i] = 0xff
	}
	for i := range len(alphabet) {
		table[alphabet[i]] = byte(i)
	}
	return table
}()

// putBase62 fills dst with the digits of hi<<64|lo, padded on the left with the zero digit.
func putBase62(dst []byte, hi, lo uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		var rem uint64
		hi, rem = hi/62, hi%62
		lo, rem = bits.Div64(rem, lo, 62)
		dst[i] = alphabet[rem]
	}
}

// parseBase62 is the inverse of putBase62; numbers of more than 128 bits are refused.
func parseBase62(src string) (hi, lo uint64, err error) {
	for i := range len(src) {
		digit := digits[src[i]]
		if digit == 0xff {
			return 0, 0, errDigits
		}
		overflow, shifted := bits.Mul64(hi, 62)
		carryHi, low := bits.Mul64(lo, 62)
		low, carry := bits.Add64(low, uint64(digit), 0)
		high, carry := bits.Add64(shifted, carryHi, carry)
		if overflow != 0 || carry != 0 {
			return 0, 0, errDigits
		}
		hi, lo = high, low
	}
	return hi, lo, nil
}
