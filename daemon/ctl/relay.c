/* SPDX-License-Identifier: Apache-2.0 */
/* See relay.h. read(2) and write(2), as stdio would keep a copy in a buffer of its own. */
#include "daemon/ctl/relay.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"
#include "daemon/wire/client.h"

int relay_read(struct secpool *pool, size_t max, struct secbuf *ret)
{
	_cleanup_secbuf_ struct secbuf buf = { 0 };
	size_t cap = max + 1;
	ssize_t n;
	int r;

	r = secpool_get(pool, cap, &buf);
	if (r < 0)
		return ctl_fail("no locked memory: %s; raise RLIMIT_MEMLOCK (ulimit -l)",
				errno_text(r));
	while ((n = read(STDIN_FILENO, buf.data + buf.len, cap - buf.len)) > 0)
		buf.len += (size_t)n;
	if (n < 0)
		return ctl_fail("standard input: %s", errno_text(errno));
	if (buf.len > max)
		return ctl_fail("standard input: more than %zu bytes", max);
	*ret = secbuf_move(&buf);
	return 0;
}

int relay_call(const char *path, const char *method, const struct secbuf *msg, uint64_t timeout_ns,
	       struct secpool *pool, struct secbuf *ret)
{
	struct grpc_outcome out;
	int r;

	r = grpc_client_call_sync(path, method, span_of(msg->data, msg->len), timeout_ns, pool,
				  &out);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	if (out.status != GRPC_OK) {
		secbuf_release(&out.msg);
		return ctl_fail("refused, %s: %s", grpc_status_name(out.status), out.text);
	}
	*ret = secbuf_move(&out.msg);
	return 0;
}

int relay_write(struct span s)
{
	while (s.len > 0) {
		ssize_t n = write(STDOUT_FILENO, s.data, s.len);

		if (n < 0)
			return ctl_fail("cannot write: %s", errno_text(errno));
		s = span_skip(s, (size_t)n);
	}
	return 0;
}
