package endpoint

import (
	"net"
	"sync"
	"sync/atomic"
)

// smallFrames wraps a connection that HTTP/2 is spoken on as a client, and lets the client believe that the peer takes
// frames of no more than the 16 KiB that every peer has to take. A client keeps a buffer of the size of a frame for each
// request whose body it is sending, and for some peers that would be 512 KiB for each attempt in progress.
//
// It also holds back what a peer of another protocol says until a request is on its way. The client closes the connection
// upon it, and only a request that is waiting then is told why.
type smallFrames struct {
	net.Conn
	frames frames
	// writes counts to two: the first is the client's preface, the second the beginning of a request.
	writes atomic.Int32
	// asked is closed with the second write, or when the connection is closed.
	asked   chan struct{}
	askOnce sync.Once
}

func newSmallFrames(conn net.Conn) *smallFrames {
	return &smallFrames{Conn: conn, asked: make(chan struct{})}
}

// Read implements net.Conn. Calls must not overlap.
func (c *smallFrames) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.frames.pass(p[:n])
	if c.frames.foreign {
		<-c.asked
	}
	return n, err
}

// Write implements net.Conn.
func (c *smallFrames) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.writes.Load() < 2 && c.writes.Add(1) == 2 {
		c.release()
	}
	return n, err
}

// Close implements net.Conn.
func (c *smallFrames) Close() error {
	c.release()
	return c.Conn.Close()
}

func (c *smallFrames) release() { c.askOnce.Do(func() { close(c.asked) }) }

// What HTTP/2 (RFC 9113, 4.1 and 6.5) says of frames.
const (
	frameHeader     = 9
	typeOffset      = 3
	flagsOffset     = 4
	typeSettings    = 0x4
	flagAck         = 0x1
	settingSize     = 6
	settingValue    = 2 // the offset of the value, which is big endian
	settingMaxFrame = 0x5
	// smallestFrame is the second byte from the right of 16 KiB, whose others are zero.
	smallestFrame, smallestAt = 0x40, settingSize - 2
)

// frames follows the frames of a connection as they are read, in pieces of any size.
type frames struct {
	// header has the part of a frame's header that was read; got is how much that is.
	header [frameHeader]byte
	got    int
	// left is how much of the frame's payload is to come.
	left int
	// setting has the id of the setting that is being read, at is how much of the payload of settings was read.
	setting [settingValue]byte
	at      int
	// begun says that a first frame was read, foreign that it is not the settings that a peer has to begin with (RFC 9113, 3.4).
	begun, foreign bool
}

// pass goes through what was read, and changes in it the values of SETTINGS_MAX_FRAME_SIZE.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.got < frameHeader {
			n := copy(f.header[f.got:], p)
			f.got += n
			p = p[n:]
			if f.got == frameHeader {
				f.left = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
				f.at = 0
				f.foreign = f.foreign || !f.begun && f.header[typeOffset] != typeSettings
				f.begun = true
			}
		} else {
			n := min(f.left, len(p))
			if f.header[typeOffset] == typeSettings && f.header[flagsOffset]&flagAck == 0 {
				f.settings(p[:n])
			}
			f.left -= n
			p = p[n:]
		}
		if f.got == frameHeader && f.left == 0 {
			f.got = 0
		}
	}
}

// settings goes through a part of the payload of settings.
func (f *frames) settings(p []byte) {
	for i := range p {
		at := f.at % settingSize
		switch {
		case at < settingValue:
			f.setting[at] = p[i]
		case f.setting != [settingValue]byte{0, settingMaxFrame}:
		case at == smallestAt:
			p[i] = smallestFrame
		default:
			p[i] = 0
		}
		f.at++
	}
}
