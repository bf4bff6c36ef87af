package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// callTimeout bounds one call, so that a server that hangs fails the run instead of stopping it.
const callTimeout = 30 * time.Second

// Conn makes one call after the other on one connection, with HTTP/1.1. It writes and reads in the goroutine of the
// caller: a client of net/http has two goroutines for each connection, and the hand-overs to and from them cost more than
// the rest of a small call; HTTP/2 has one connection for all, which takes hand-overs as well. A Conn is not for concurrent use.
type Conn struct {
	conn net.Conn
	// head is what all requests have between their path and their length.
	head  string
	write []byte
	read  *bufio.Reader
	body  []byte
}

// Dial connects to the address, host:port.
func Dial(ctx context.Context, address string) (*Conn, error) {
	conn, err := (&net.Dialer{Timeout: callTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Conn{
		conn: conn, read: bufio.NewReader(conn),
		head: " HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/json\r\nContent-Length: ",
	}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Post sends the body, JSON, to the path, and returns the body of the answer, which is valid until the next call. Any
// status but 200 is an error.
func (c *Conn) Post(path, body string) ([]byte, error) {
	c.write = append(append(append(c.write[:0], "POST "...), path...), c.head...)
	c.write = append(strconv.AppendInt(c.write, int64(len(body)), 10), "\r\n\r\n"...)
	c.write = append(c.write, body...)
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(c.write); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.read, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", path, body, err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	if c.body, err = appendAll(c.body[:0], response.Body); err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", path, body, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer to %s %s is %s: %s", path, body, response.Status, c.body)
	}
	return c.body, nil
}

// appendAll appends what is left to read.
func appendAll(dst []byte, from io.Reader) ([]byte, error) {
	const room = 512
	for {
		if cap(dst)-len(dst) < room {
			dst = append(dst, make([]byte, room)...)[:len(dst)]
		}
		n, err := from.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}
