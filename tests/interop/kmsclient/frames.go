// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2conn is an HTTP/2 connection below gRPC. grpc-go cannot be told to send a
// keepalive PING more often than every ten seconds, nor to misbehave.
type h2conn struct {
	net.Conn
	*http2.Framer
}

func dialFrames(e *env) (*h2conn, error) {
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(e.timeout))
	h := &h2conn{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		conn.Close()
		return nil, err
	}
	if err := h.WriteSettings(); err != nil {
		conn.Close()
		return nil, err
	}
	return h, nil
}

func runFrames(ctx context.Context, e *env, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	bystander, err := dial(e)
	if err != nil {
		return err
	}
	defer bystander.close()
	if err := bystander.roundTrip(ctx); err != nil {
		return err
	}
	// Whatever one connection does, another one notices nothing.
	beside := func(name string, run func(*env) error) {
		e.test(name, func() error {
			if err := run(e); err != nil {
				return err
			}
			if err := bystander.roundTrip(ctx); err != nil {
				return fmt.Errorf("another connection: %w", err)
			}
			return bystander.oneConnection()
		})
	}
	beside("keepalive_pings", pings)
	beside("unknown_frame_is_ignored", unknownFrame)
	beside("not_http2", notHTTP2)
	beside("half_a_preface", halfPreface)
	beside("half_a_request", halfRequest)
	beside("broken_header_block", brokenHeaders)
	beside("frame_too_large", largeFrame)
	beside("silent_peers", func(e *env) error { return silentPeers(ctx, e) })
	return nil
}

// ping sends one and reads until its acknowledgement comes back.
func (h *h2conn) ping(n uint64) error {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], n)
	if err := h.WritePing(false, payload); err != nil {
		return err
	}
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			return fmt.Errorf("waiting for a PING's acknowledgement: %w", err)
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			return fmt.Errorf("GOAWAY %v %q", frame.ErrCode, frame.DebugData())
		case *http2.PingFrame:
			if !frame.IsAck() {
				continue
			}
			if frame.Data != payload {
				return fmt.Errorf("PING %x acknowledged as %x", payload, frame.Data)
			}
			return nil
		}
	}
}

func pings(e *env) error {
	h, err := dialFrames(e)
	if err != nil {
		return err
	}
	defer h.Close()
	for n := range uint64(20) {
		if err := h.ping(n ^ 0x6b656b64); err != nil {
			return err
		}
	}
	return nil
}

// RFC 9113 §4.1: frames of unknown types are ignored.
func unknownFrame(e *env) error {
	h, err := dialFrames(e)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.WriteRawFrame(0xbe, 0xff, 0, []byte("grease")); err != nil {
		return err
	}
	return h.ping(1)
}

// closes reads until the other side has closed the connection.
func closes(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection stays open")
	}
	return nil // end of file, or reset
}

func notHTTP2(e *env) error {
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(e.timeout))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	return closes(conn)
}

func halfPreface(e *env) error {
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		return err
	}
	io.WriteString(conn, http2.ClientPreface[:10])
	return conn.Close()
}

func requestHeaders() []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", v2Encrypt}, {":authority", "localhost"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return block.Bytes()
}

// halfRequest leaves in the middle of a message. The PING makes sure that the
// plugin has read the first half before.
func halfRequest(e *env) error {
	h, err := dialFrames(e)
	if err != nil {
		return err
	}
	defer h.Close()
	headers := http2.HeadersFrameParam{StreamID: 1, BlockFragment: requestHeaders(), EndHeaders: true}
	if err := h.WriteHeaders(headers); err != nil {
		return err
	}
	if err := h.WriteData(1, false, []byte{0, 0, 0, 0, 36, 0x0a, 32, 1, 2, 3}); err != nil {
		return err
	}
	return h.ping(2)
}

// RFC 9113 §4.3: a header block that does not decode ends the connection.
func brokenHeaders(e *env) error {
	h, err := dialFrames(e)
	if err != nil {
		return err
	}
	defer h.Close()
	headers := http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true}
	if err := h.WriteHeaders(headers); err != nil {
		return err
	}
	return closes(h)
}

// RFC 9113 §4.2: a frame above SETTINGS_MAX_FRAME_SIZE (16384 at first) is an
// error. The connection, or at least the stream, ends.
func largeFrame(e *env) error {
	h, err := dialFrames(e)
	if err != nil {
		return err
	}
	defer h.Close()
	// The peer may have raised its limit to the largest there is, which is
	// what this frame announces. Its body never comes.
	if _, err := h.Write([]byte{0xff, 0xff, 0xff, 0xee, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	return nil
}

// silentPeers connect and say nothing while others are served.
func silentPeers(ctx context.Context, e *env) error {
	for range 16 {
		conn, err := net.Dial("unix", e.socket)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()
	return c.roundTrip(ctx)
}
