/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/served/served.h"

#define NV(n, v)                                                                \
	{                                                                       \
		(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, 0 \
	}

static struct {
	int fd;
	nghttp2_session *session;
	uint8_t in[16384], out[65536];
} bare;

static ssize_t body_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
			 uint32_t *flags, nghttp2_data_source *source _unused_, void *ctx _unused_)
{
	const nghttp2_nv trailers[] = { NV("grpc-status", "0") };

	if (len < SERVED_BARE_BYTES)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	memset(buf, 0, SERVED_BARE_BYTES);
	*flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	nghttp2_submit_trailer(session, id, trailers, ARRAY_SIZE(trailers));
	return SERVED_BARE_BYTES;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx _unused_)
{
	const nghttp2_nv fields[] = { NV(":status", "200"),
				      NV("content-type", "application/grpc") };
	const nghttp2_data_provider body = { .read_callback = body_read };

	if (frame->hd.type != NGHTTP2_DATA || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	return nghttp2_submit_response(session, frame->hd.stream_id, fields, ARRAY_SIZE(fields),
				       &body);
}

static int session_make(void)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 256 },
	};
	nghttp2_session_callbacks *callbacks;
	int r;

	if (nghttp2_session_callbacks_new(&callbacks) < 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	r = nghttp2_session_server_new(&bare.session, callbacks, NULL);
	nghttp2_session_callbacks_del(callbacks);
	if (r == 0)
		r = nghttp2_submit_settings(bare.session, NGHTTP2_FLAG_NONE, settings,
					    ARRAY_SIZE(settings));
	return r < 0 ? -ENOMEM : 0;
}

static int bare_open(int *ret_fd)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	bare.fd = fds[0];
	*ret_fd = fds[1];
	return session_make();
}

static int bare_read(void)
{
	ssize_t n;

	while ((n = read(bare.fd, bare.in, sizeof(bare.in))) > 0)
		if (nghttp2_session_mem_recv(bare.session, bare.in, (size_t)n) < 0)
			return -EPROTO;
	return 0;
}

/* What belongs together goes in one write(2); the socket has room, as the client reads it empty. */
static int bare_write(void)
{
	const uint8_t *p;
	size_t len = 0;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(bare.session, &p)) > 0) {
		if (len + (size_t)n > sizeof(bare.out))
			return -ENOBUFS;
		memcpy(bare.out + len, p, (size_t)n);
		len += (size_t)n;
	}
	if (n < 0)
		return -EPROTO;
	return len == 0 || write(bare.fd, bare.out, len) == (ssize_t)len ? 0 : -EIO;
}

static int bare_turn(void)
{
	int r = bare_read();

	return r < 0 ? r : bare_write();
}

static void bare_close(void)
{
	nghttp2_session_del(bare.session);
	close(bare.fd);
}

const struct served served_bare = { bare_open, bare_turn, bare_close };
