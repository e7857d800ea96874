/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every secret has the same mapping of SECRET_MAX + 1 bytes, so that one too long is seen without
 * growing anything: the bytes are read straight into locked memory and never copied.
 */
#include "daemon/keys/secret.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/random.h"

#define MAPPING (SECRET_MAX + 1)

static int secret_new(struct secret *ret)
{
	uint8_t *p = secmem_alloc(MAPPING);

	if (!p)
		return -ENOMEM;
	*ret = (struct secret){ .data = p };
	return 0;
}

static struct secret secret_move(struct secret *s)
{
	struct secret r = *s;

	*s = (struct secret){ 0 };
	return r;
}

void secret_release(struct secret *s)
{
	secmem_free(s->data, MAPPING);
	*s = (struct secret){ 0 };
}

int secret_copy(struct span bytes, struct secret *ret)
{
	_cleanup_secret_ struct secret s = { 0 };
	int r;

	if (bytes.len < SECRET_MIN || bytes.len > SECRET_MAX)
		return -EINVAL;
	r = secret_new(&s);
	if (r < 0)
		return r;
	memcpy(s.data, bytes.data, bytes.len);
	s.len = bytes.len;
	*ret = secret_move(&s);
	return 0;
}

int secret_random(size_t len, struct secret *ret)
{
	_cleanup_secret_ struct secret s = { 0 };
	int r;

	if (len < SECRET_MIN || len > SECRET_MAX)
		return -EINVAL;
	r = secret_new(&s);
	if (r < 0)
		return r;
	r = random_bytes(s.data, len);
	if (r < 0)
		return r;
	s.len = len;
	*ret = secret_move(&s);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until @fd can be read or has ended. @end_ms < 0: no bound. -ECANCELED: @peer has hung up. */
static int wait_readable(int fd, int peer, int64_t end_ms)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = peer } };
	int64_t left = -1;
	int n;

	do {
		if (end_ms >= 0) {
			left = end_ms - now_ms();
			if (left < 0)
				left = 0;
		}
		n = poll(p, 2, (int)left);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (p[1].revents)
		return -ECANCELED;
	return n > 0 ? 0 : -ETIME;
}

static int read_to_end(int fd, int peer, int64_t end_ms, struct secret *s)
{
	ssize_t n;
	int r;

	do {
		r = wait_readable(fd, peer, end_ms);
		if (r < 0)
			return r;
		n = read(fd, s->data + s->len, MAPPING - s->len);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n > 0)
			s->len += (size_t)n;
		if (s->len > SECRET_MAX)
			return -EMSGSIZE;
	} while (n != 0);
	return 0;
}

int secret_read(int fd, int peer, int timeout_ms, struct secret *ret)
{
	_cleanup_secret_ struct secret s = { 0 };
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return -EPERM;
	r = secret_new(&s);
	if (r == 0)
		r = read_to_end(fd, peer, timeout_ms < 0 ? -1 : now_ms() + timeout_ms, &s);
	if (r < 0)
		return r;
	if (s.len < SECRET_MIN)
		return s.len == 0 ? -ENODATA : -EINVAL;
	*ret = secret_move(&s);
	return 0;
}
