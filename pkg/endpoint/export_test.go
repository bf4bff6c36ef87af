package endpoint

import "net"

// InSmallFrames wraps a connection as the transport does.
func InSmallFrames(conn net.Conn) net.Conn { return newSmallFrames(conn) }
