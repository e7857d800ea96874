/* SPDX-License-Identifier: Apache-2.0 */
/* The page of board.h, and the verdicts on what it says. */
#include "daemon/obs/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define READ_TRIES 10000
#define SECOND     UINT64_C(1000000000)
#define LIVE_NS    (15 * SECOND)
#define PROBE_NS   (30 * SECOND)

struct board_page {
	_Atomic uint64_t sequence; /* odd: being written; 0: never */
	struct board s;
};

int board_page_new(struct board_page **ret, int *ret_fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
	const size_t size = sizeof(struct board_page);
	_cleanup_close_ int fd = memfd_create("kekd-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	_cleanup_(board_page_freep) struct board_page *page = NULL;
	void *p;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	page = p;
	if (fcntl(fd, F_ADD_SEALS, seals) < 0)
		return -errno;
	*ret = move_ptr(page);
	*ret_fd = move_fd(fd);
	return 0;
}

int board_page_map(int fd, struct board_page **ret)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != sizeof(struct board_page))
		return -EPROTO;
	p = mmap(NULL, sizeof(struct board_page), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

void board_page_free(struct board_page *page)
{
	if (page)
		munmap(page, sizeof(*page));
}

/* Only as many keys as there are. */
static size_t used_size(const struct board *s)
{
	uint32_t n = s->n_keys <= KEKD_KEYS_MAX ? s->n_keys : KEKD_KEYS_MAX;

	return offsetof(struct board, keys) + n * sizeof(s->keys[0]);
}

void board_write(struct board_page *page, const struct board *s)
{
	uint64_t n = atomic_load_explicit(&page->sequence, memory_order_relaxed);

	atomic_store_explicit(&page->sequence, n + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* nobody sees a new byte beside an even n */
	memcpy(&page->s, s, used_size(s));
	atomic_store_explicit(&page->sequence, n + 2, memory_order_release);
}

int board_read(const struct board_page *page, struct board *ret)
{
	uint64_t before, after;

	for (int i = 0; i < READ_TRIES; i++) {
		before = atomic_load_explicit(&page->sequence, memory_order_acquire);
		if (before == 0 || before & 1)
			continue;
		memcpy(ret, &page->s, used_size(&page->s));
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&page->sequence, memory_order_relaxed);
		if (before == after && ret->n_keys <= KEKD_KEYS_MAX)
			return 0;
	}
	return -EAGAIN;
}

const char *board_not_live(const struct board *s, uint64_t now_ns)
{
	return now_ns > s->written_ns + LIVE_NS ? "the keeper has stopped answering; see the log"
						: NULL;
}

const char *board_not_ready(const struct board *s, uint64_t now_ns)
{
	const struct metrics *m = &s->metrics;

	if (board_not_live(s, now_ns))
		return board_not_live(s, now_ns);
	if (!s->serving)
		return "no server serves";
	if (s->sealed)
		return s->sealed_text;
	if (m->probes == 0)
		return "not tried yet";
	if (now_ns > s->probed_ns + PROBE_NS)
		return "encryption and decryption have not ended for 30 s";
	if (m->probe_r < 0)
		return "encryption or decryption with the active key fails; see kekctl status";
	if (s->health.sockets_lost > 0)
		return "the file of a socket was removed or replaced: no new client can "
		       "connect; see the log";
	if (s->health.uses_unrecorded)
		return "more was encrypted than the key store could record: look after its disk; see the "
		       "log";
	return NULL;
}
