// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	kmsv2 "k8s.io/kms/apis/v2"
)

// h2conn is an HTTP/2 connection below gRPC. grpc-go cannot be told to send a
// keepalive PING more often than every ten seconds, nor to cut its frames
// oddly, nor to misbehave.
type h2conn struct {
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
}

func dialRaw(e *env) (net.Conn, error) {
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(e.timeout)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func dialFrames(e *env, settings ...http2.Setting) (*h2conn, error) {
	conn, err := dialRaw(e)
	if err != nil {
		return nil, err
	}
	h := &h2conn{Conn: conn, Framer: http2.NewFramer(conn, conn), decoder: hpack.NewDecoder(4096, nil)}
	h.encoder = hpack.NewEncoder(&h.block)
	if _, err = io.WriteString(conn, http2.ClientPreface); err == nil {
		err = h.WriteSettings(settings...)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return h, nil
}

// headers encodes the header block of a gRPC request. Blocks must be sent in
// the order in which they were encoded.
func (h *h2conn) headers(path string) []byte {
	h.block.Reset()
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "localhost"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		h.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return bytes.Clone(h.block.Bytes())
}

func (h *h2conn) open(stream uint32, path string) error {
	return h.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: h.headers(path), EndHeaders: true})
}

// message is a complete gRPC message: no compression, length, Encrypt request.
func message() []byte {
	body, err := proto.Marshal(&kmsv2.EncryptRequest{Plaintext: newSeed(), Uid: "kmsclient"})
	if err != nil {
		panic(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
}

// next returns the next frame that is not about the connection's settings.
func (h *h2conn) next() (http2.Frame, error) {
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame:
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("GOAWAY %v %q", frame.ErrCode, frame.DebugData())
		case *http2.PingFrame:
			if frame.IsAck() {
				return frame, nil
			}
			if err := h.WritePing(true, frame.Data); err != nil {
				return nil, err
			}
		default:
			return frame, nil
		}
	}
}

// ping sends one and expects its acknowledgement. What belongs to streams
// before it is skipped, except data, which is an error when none may come.
func (h *h2conn) ping(n uint64, dataAllowed bool) error {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], n)
	if err := h.WritePing(false, payload); err != nil {
		return err
	}
	for {
		frame, err := h.next()
		if err != nil {
			return fmt.Errorf("waiting for a PING's acknowledgement: %w", err)
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			if !dataAllowed && len(frame.Data()) > 0 {
				return errors.New("data beyond the flow-control window")
			}
		case *http2.PingFrame:
			if frame.Data != payload {
				return fmt.Errorf("PING %x acknowledged as %x", payload, frame.Data)
			}
			return nil
		}
	}
}

// answer reads the response of a stream and expects grpc-status 0 and one
// message.
func (h *h2conn) answer(stream uint32) error {
	var data []byte
	status := "missing"
	for {
		frame, err := h.next()
		if err != nil {
			return fmt.Errorf("waiting for an answer: %w", err)
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			return fmt.Errorf("stream reset: %v", frame.ErrCode)
		case *http2.DataFrame:
			data = append(data, frame.Data()...)
		case *http2.HeadersFrame:
			fields, err := h.decoder.DecodeFull(frame.HeaderBlockFragment())
			if err != nil {
				return err
			}
			for _, field := range fields {
				if field.Name == "grpc-status" {
					status = field.Value
				}
			}
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			break
		}
	}
	if status != "0" {
		return fmt.Errorf("grpc-status %s", status)
	}
	var response kmsv2.EncryptResponse
	if len(data) < 5 || int(binary.BigEndian.Uint32(data[1:])) != len(data)-5 {
		return fmt.Errorf("%d bytes are not one message", len(data))
	}
	return proto.Unmarshal(data[5:], &response)
}

// closed reads until the other side has closed the connection.
func closed(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection stays open")
	}
	return nil // end of file, or reset
}
