package endpoint

import (
	"net"
	"sync"
	"sync/atomic"
)

// mended wraps a connection that HTTP/2 is spoken on as a client, and changes what the client reads where the one of the
// standard library does not do well with what peers say.
//
// It lets the client believe that the peer takes frames of no more than the 16 KiB that every peer has to take. The client
// keeps a buffer of the size of a frame for each request whose body it is sending, and for some peers that would be 512 KiB
// for each attempt in progress.
//
// A peer that breaks a request off with ENHANCE_YOUR_CALM is taken to go away, so that further requests get a connection of
// their own while those in progress end here. Node refuses every request on a connection that it held too much data for, and
// for long after that data is gone.
//
// What a peer of another protocol says is held back until a request is on its way. The client closes the connection upon
// it, and only a request that is waiting then is told why.
type mended struct {
	net.Conn
	frames frames
	// inserted is what of a GOAWAY is still to be read; gone says that one was inserted.
	inserted []byte
	gone     bool
	// writes counts to two: the first is the client's preface, the second the beginning of a request.
	writes atomic.Int32
	// asked is closed with the second write, or when the connection is closed.
	asked   chan struct{}
	askOnce sync.Once
}

func mend(conn net.Conn) *mended {
	return &mended{Conn: conn, asked: make(chan struct{})}
}

// goAway is the frame by which a peer says that it takes no further streams, and goes on with all there are.
var goAway = []byte{0, 0, 8, typeGoAway, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// Read implements net.Conn. Calls must not overlap.
func (c *mended) Read(p []byte) (int, error) {
	if c.frames.calm && !c.gone && c.frames.got == 0 {
		c.inserted, c.gone = goAway, true
	}
	if len(c.inserted) > 0 {
		n := copy(p, c.inserted)
		c.inserted = c.inserted[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.frames.pass(p[:n])
	if c.frames.foreign {
		<-c.asked
	}
	return n, err
}

// Write implements net.Conn.
func (c *mended) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.writes.Load() < 2 && c.writes.Add(1) == 2 {
		c.release()
	}
	return n, err
}

// Close implements net.Conn.
func (c *mended) Close() error {
	c.release()
	return c.Conn.Close()
}

func (c *mended) release() { c.askOnce.Do(func() { close(c.asked) }) }

// What HTTP/2 (RFC 9113, 4.1, 6 and 7) says of frames.
const (
	frameHeader     = 9
	typeOffset      = 3
	flagsOffset     = 4
	typeReset       = 0x3
	typeSettings    = 0x4
	typeGoAway      = 0x7
	flagAck         = 0x1
	settingSize     = 6
	settingValue    = 2 // the offset of the value, which is big endian
	settingMaxFrame = 0x5
	enhanceYourCalm = 0xb
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
	// reset has as much of the error code of a reset as was read; calm says that one was ENHANCE_YOUR_CALM.
	reset uint32
	calm  bool
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
				f.at, f.reset = 0, 0
				f.foreign = f.foreign || !f.begun && f.header[typeOffset] != typeSettings
				f.begun = true
			}
		} else {
			n := min(f.left, len(p))
			switch kind := f.header[typeOffset]; {
			case kind == typeSettings && f.header[flagsOffset]&flagAck == 0:
				f.settings(p[:n])
			case kind == typeReset:
				f.resets(p[:n])
			}
			f.left -= n
			p = p[n:]
		}
		if f.got == frameHeader && f.left == 0 {
			f.got = 0
		}
	}
}

// resets goes through a part of the payload of a reset.
func (f *frames) resets(p []byte) {
	for _, b := range p {
		f.reset = f.reset<<8 | uint32(b)
	}
	f.calm = f.calm || len(p) == f.left && f.reset == enhanceYourCalm
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
