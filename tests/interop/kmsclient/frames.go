// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/http2"
)

// frameTests are legal requests cut unusually, and then peers that break the
// rules. Sections are those of RFC 9113.
var frameTests = []struct {
	name string
	run  func(*env) error
}{
	{"keepalive_pings", pings},
	{"unknown_frame_is_ignored", onFrames(unknownFrame)},
	{"request_byte_by_byte", onFrames(byteByByte)},
	{"padding_and_continuation", onFrames(paddedRequest)},
	{"window_of_zero", closedWindow},
	{"half_a_request", onFrames(halfRequest)},
	{"rapid_reset", onFrames(rapidReset)},
	{"not_http2", notHTTP2},
	{"half_a_preface", halfPreface},
	{"broken_header_block", onFrames(brokenHeaders)},
	{"frame_too_large", onFrames(largeFrame)},
	{"silent_peers", silentPeers},
}

// runFrames does each thing on a connection of its own. Whatever happens to
// that one, another connection must not notice.
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
	for _, test := range frameTests {
		e.test(test.name, func() error {
			if err := test.run(e); err != nil {
				return err
			}
			if err := bystander.roundTrip(ctx); err != nil {
				return fmt.Errorf("another connection: %w", err)
			}
			return bystander.oneConnection()
		})
	}
	return nil
}

func onFrames(run func(*h2conn) error) func(*env) error {
	return func(e *env) error {
		h, err := dialFrames(e)
		if err != nil {
			return err
		}
		defer h.Close()
		return run(h)
	}
}

func pings(e *env) error {
	return onFrames(func(h *h2conn) error {
		for n := range uint64(20) {
			if err := h.ping(n^0x6b656b64, true); err != nil {
				return err
			}
		}
		return nil
	})(e)
}

// §5.5: frames of unknown types are ignored.
func unknownFrame(h *h2conn) error {
	if err := h.WriteRawFrame(0xbe, 0xff, 0, []byte("grease")); err != nil {
		return err
	}
	return h.ping(1, true)
}

// A message may come in any number of DATA frames, empty ones among them.
func byteByByte(h *h2conn) error {
	if err := h.open(1, v2Encrypt); err != nil {
		return err
	}
	for _, octet := range message() {
		if err := h.WriteData(1, false, []byte{octet}); err != nil {
			return err
		}
	}
	if err := h.WriteData(1, true, nil); err != nil {
		return err
	}
	return h.answer(1)
}

// §6.1 and §6.2: padding is not content. §6.10: a header block may go on in
// other frames, here one byte each.
func paddedRequest(h *h2conn) error {
	block := h.headers(v2Encrypt)
	first := http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], PadLength: 200}
	if err := h.WriteHeaders(first); err != nil {
		return err
	}
	// Four pieces: nghttp2 takes at most eight CONTINUATIONs (CVE-2024-28182).
	const piece = 40
	rest := block[1:]
	for len(rest) > 0 {
		n := min(len(rest), max(piece, len(block)/4))
		if err := h.WriteContinuation(1, n == len(rest), rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := h.WriteDataPadded(1, true, message(), make([]byte, 255)); err != nil {
		return err
	}
	return h.answer(1)
}

// closedWindow asks, but allows no answer until a PING has been acknowledged:
// a reader that does not read holds up nothing else on its connection.
func closedWindow(e *env) error {
	h, err := dialFrames(e, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.open(1, v2Encrypt); err != nil {
		return err
	}
	if err := h.WriteData(1, true, message()); err != nil {
		return err
	}
	for n := range uint64(8) {
		if err := h.ping(n, false); err != nil {
			return err
		}
	}
	if err := h.WriteWindowUpdate(1, 1<<16); err != nil {
		return err
	}
	return h.answer(1)
}

// halfRequest leaves in the middle of a message. The PING makes sure that the
// plugin has read the first half before.
func halfRequest(h *h2conn) error {
	if err := h.open(1, v2Encrypt); err != nil {
		return err
	}
	if err := h.WriteData(1, false, message()[:20]); err != nil {
		return err
	}
	return h.ping(2, true)
}

// rapidReset opens streams and takes each back at once (CVE-2023-44487). The
// plugin may stand it or close this connection.
func rapidReset(h *h2conn) error {
	// An answer that nobody reads must not make both sides wait for each other.
	drained := make(chan struct{})
	go func() {
		io.Copy(io.Discard, h.Conn)
		close(drained)
	}()
	for stream := uint32(1); stream < 8000; stream += 2 {
		if h.open(stream, v2Encrypt) != nil || h.WriteData(stream, true, message()) != nil ||
			h.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
			break
		}
	}
	h.Close()
	<-drained
	return nil
}

func notHTTP2(e *env) error {
	conn, err := dialRaw(e)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	return closed(conn)
}

func halfPreface(e *env) error {
	conn, err := dialRaw(e)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, http2.ClientPreface[:10]); err != nil {
		conn.Close()
		return err
	}
	return conn.Close()
}

// §4.3: a header block that does not decode ends the connection.
func brokenHeaders(h *h2conn) error {
	headers := http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true}
	if err := h.WriteHeaders(headers); err != nil {
		return err
	}
	return closed(h)
}

// §4.2: a frame of 16 MiB is announced on stream 0, which no peer here allows.
// Its body never comes: the plugin must neither wait for it nor make room.
func largeFrame(h *h2conn) error {
	if _, err := h.Write([]byte{0xff, 0xff, 0xff, byte(http2.FrameData), 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	return closed(h)
}

// silentPeers connect and say nothing while others are served.
func silentPeers(e *env) error {
	var peers []net.Conn
	defer func() {
		for _, conn := range peers {
			conn.Close()
		}
	}()
	for range 16 {
		conn, err := dialRaw(e)
		if err != nil {
			return err
		}
		peers = append(peers, conn)
	}
	c, err := dial(e)
	if err != nil {
		return err
	}
	defer c.close()
	return c.roundTrip(context.Background())
}
