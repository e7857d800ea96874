/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches processes and files for a key (tests/e2e/needles.h lists the forms of it).
 *
 *	memscan --kek FILE --root FILE --label FILE [--pid NAME=PID | --path NAME=PATH]...
 *
 * A process is stopped (ptrace(2)) while it is searched, wherever it is, so that nothing is moved
 * out of sight meanwhile; then it goes on. Searched are all of its maps, whatever their protection,
 * through /proc/PID/mem, and the registers of each thread, the vector registers too: on x86_64 a
 * key in use is nowhere else for a while. A path is a file, a fifo (until its end) or a directory
 * with all below it.
 *
 * Standard output, for the script that calls: one line for each name and form that was found,
 *
 *	NAME FORM COUNT
 *
 * and one for each name, with what the search could not read:
 *
 *	searched NAME BYTES unread MAP...
 *
 * The key of GHASH is looked for too: h.bytes and h.swapped are H = E_K(0) as it comes from the cipher and
 * with its bytes in the opposite order, h.powers what the engine multiplies by (daemon/crypto/ghash.h).
 *
 * One thing is looked for that must be there, as proof that the search sees what it should:
 * control.label is the key's label.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "daemon/base/cleanup.h"
#include "daemon/crypto/ghash.h"
#include "tests/support/openssl_seal.h"
#include "tests/e2e/needles.h"

#define CHUNK       (1U << 20)
#define THREADS_MAX 64
#define UNREAD_MAX  16
#define REGS_MAX    (64 * 1024)

static struct needles needles;

/* One search under one name. The last bytes of a piece stay in front of the next. */
struct search {
	const char *name;
	uint64_t counts[KINDS_MAX];
	uint64_t bytes;
	char unread[UNREAD_MAX][128];
	size_t n_unread;
	size_t carried;
	uint8_t buf[NEEDLE_MAX + CHUNK];
};

static _noreturn_ void die(const char *what)
{
	perror(what);
	exit(2);
}

static uint8_t *room(struct search *s)
{
	return s->buf + s->carried;
}

/* @len bytes were put where room() said. What was carried is counted again only if it was cut. */
static void take(struct search *s, size_t len)
{
	size_t total = s->carried + len, keep = total < NEEDLE_MAX ? total : NEEDLE_MAX - 1;
	uint64_t twice[KINDS_MAX] = { 0 };

	needles_find(&needles, span_of(s->buf, total), s->counts);
	needles_find(&needles, span_of(s->buf + total - keep, keep), twice);
	for (size_t i = 0; i < KINDS_MAX; i++)
		s->counts[i] -= twice[i];
	memmove(s->buf, s->buf + total - keep, keep);
	s->carried = keep;
	s->bytes += len;
}

/* The end of a region: what follows is not its continuation. */
static void cut(struct search *s)
{
	needles_find(&needles, span_of(s->buf, s->carried), s->counts);
	s->carried = 0;
}

static void report(const struct search *s)
{
	for (unsigned int i = 0; i < needles.n_kinds; i++)
		if (s->counts[i] > 0)
			printf("%s %s %" PRIu64 "\n", s->name, needles.kinds[i], s->counts[i]);
	printf("searched %s %" PRIu64 " unread", s->name, s->bytes);
	for (size_t i = 0; i < s->n_unread; i++)
		printf(" %s", s->unread[i]);
	printf("\n");
}

static void unread_add(struct search *s, const char *map)
{
	for (size_t i = 0; i < s->n_unread; i++)
		if (strcmp(s->unread[i], map) == 0)
			return;
	if (s->n_unread < UNREAD_MAX)
		snprintf(s->unread[s->n_unread++], sizeof(s->unread[0]), "%s", map);
}

/* The map's name, without the blanks that a name may hold; "anonymous" if it has none. */
static const char *map_name(char *line)
{
	char *p = line;

	for (int field = 0; field < 5; field++) {
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	p[strcspn(p, " \n")] = '\0';
	return *p ? p : "anonymous";
}

static void search_map(struct search *s, int mem, uint64_t from, uint64_t to, const char *name)
{
	while (from < to) {
		size_t len = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
		ssize_t n = pread(mem, room(s), len, (off_t)from);

		if (n <= 0) {
			unread_add(s, name);
			break;
		}
		take(s, (size_t)n);
		from += (uint64_t)n;
	}
	cut(s);
}

static void search_maps(struct search *s, pid_t pid)
{
	_cleanup_fclose_ FILE *maps = NULL;
	_cleanup_close_ int mem = -1;
	_cleanup_free_ char *line = NULL;
	uint64_t from, to;
	char path[64];
	size_t size = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		die(path);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		die(path);
	while (getline(&line, &size, maps) > 0) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) != 2)
			die(path);
		search_map(s, mem, from, to, map_name(line));
	}
}

static void search_registers(struct search *s, pid_t tid)
{
	static const int sets[] = { NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE };

	_Static_assert(REGS_MAX <= CHUNK, "a set fits");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct iovec iov = { .iov_base = room(s), .iov_len = REGS_MAX };

		if (ptrace(PTRACE_GETREGSET, tid, sets[i], &iov) < 0) {
			/* Not every machine has vector registers beyond the second set. */
			if (i < 2)
				die("registers");
			continue;
		}
		take(s, iov.iov_len);
		cut(s);
	}
}

struct threads {
	pid_t tid[THREADS_MAX];
	size_t n;
};

/* io_uring's workers live in the kernel: no registers of their own, and no tracer gets them. */
static bool is_kernel_worker(pid_t pid, pid_t tid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], comm[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	f = fopen(path, "re");
	return f && fgets(comm, sizeof(comm), f) && strncmp(comm, "iou-", 4) == 0;
}

static void freeze(pid_t pid, struct threads *ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *e;
	char path[64];
	int status;

	ret->n = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((e = readdir(dir))) {
		pid_t tid = atoi(e->d_name);

		if (tid <= 0 || is_kernel_worker(pid, tid) || ret->n == THREADS_MAX)
			continue;
		if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) {
			if (errno == ESRCH && tid != pid)
				continue; /* a worker of the kernel's that has ended meanwhile */
			die("ptrace");
		}
		if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 ||
		    waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
			die("ptrace");
		ret->tid[ret->n++] = tid;
	}
}

static void search_process(struct search *s, const char *arg)
{
	pid_t pid = atoi(arg);
	struct threads threads;

	freeze(pid, &threads);
	for (size_t i = 0; i < threads.n; i++)
		search_registers(s, threads.tid[i]);
	search_maps(s, pid);
	for (size_t i = 0; i < threads.n; i++)
		if (ptrace(PTRACE_DETACH, threads.tid[i], 0, 0) < 0)
			die("ptrace");
}

static struct search *walking;

static int search_file(const char *path, const struct stat *st, int kind, struct FTW *ftw _unused_)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (kind != FTW_F || S_ISSOCK(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		die(path);
	while ((n = read(fd, room(walking), CHUNK)) > 0)
		take(walking, (size_t)n);
	if (n < 0)
		die(path);
	cut(walking);
	return 0;
}

static void search_path(struct search *s, const char *path)
{
	walking = s;
	if (nftw(path, search_file, 16, FTW_PHYS) != 0)
		die(path);
}

static void load(const char *path, void *ret, size_t size, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size);

	if (n < 0)
		die(path);
	*ret_len = (size_t)n;
}

static void needle_add_h(const uint8_t h[static KEKD_AES_BLOCK])
{
	unsigned int bytes = needle_kind(&needles, "h", "bytes");
	unsigned int swapped = needle_kind(&needles, "h", "swapped");
	unsigned int powers = needle_kind(&needles, "h", "powers");
	uint8_t copy[KEKD_AES_BLOCK];
	struct ghash_elem power;
	struct ghash_key key;

	for (size_t i = 0; i < sizeof(copy); i++)
		copy[i] = h[sizeof(copy) - 1 - i];
	for (size_t i = 0; i + WINDOW <= sizeof(copy); i++) {
		needle_add(&needles, bytes, h + i, WINDOW);
		needle_add(&needles, swapped, copy + i, WINDOW);
	}
	ghash_key_init(&key, h, &ghash_soft);
	power = key.power[0];
	for (size_t i = 0; i < GHASH_POWERS; i++) {
		needle_add(&needles, powers, &power.lo, sizeof(power.lo));
		needle_add(&needles, powers, &power.hi, sizeof(power.hi));
		power = ghash_mul(power, key.power[0]);
	}
}

static void need_kek(const char *path)
{
	static const uint8_t zero[KEKD_AES_BLOCK];
	uint8_t key[KEY_LEN], h[KEKD_AES_BLOCK];
	size_t len;

	load(path, key, sizeof(key), &len);
	if (len != sizeof(key) || openssl_aes_block(key, zero, h) < 0)
		die("kek");
	needle_add_key(&needles, "kek", key);
	needle_add_schedule(&needles, "kek", key);
	needle_add_h(h);
}

static void need_root(const char *path)
{
	uint8_t key[KEY_LEN];
	size_t len;

	load(path, key, sizeof(key), &len);
	if (len != sizeof(key))
		die("root");
	needle_add_key(&needles, "root", key);
}

static void need_label(const char *path)
{
	char label[NEEDLE_MAX];
	size_t len;

	load(path, label, sizeof(label), &len);
	needle_add(&needles, needle_kind(&needles, "control", "label"), label, len);
}

static void search(const char *arg, void (*how)(struct search *s, const char *arg))
{
	struct search *s = calloc(1, sizeof(*s));
	_cleanup_free_ char *name = strdup(arg);
	char *value;

	if (!s || !name || !(value = strchr(name, '=')))
		die(arg);
	*value++ = '\0';
	s->name = name;
	how(s, value);
	report(s);
	free(s);
}

static const struct option options[] = {
	{ "kek", required_argument, NULL, 'k' },   { "root", required_argument, NULL, 'r' },
	{ "label", required_argument, NULL, 'l' }, { "pid", required_argument, NULL, 'p' },
	{ "path", required_argument, NULL, 'f' },  { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	int c;

	if (!needle_expand_works()) {
		fputs("memscan: the key expansion is wrong\n", stderr);
		return 2;
	}
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'k':
			need_kek(optarg);
			break;
		case 'r':
			need_root(optarg);
			break;
		case 'l':
			need_label(optarg);
			break;
		case 'p':
			search(optarg, search_process);
			break;
		case 'f':
			search(optarg, search_path);
			break;
		default:
			return 2;
		}
	}
	return optind == argc ? 0 : 2;
}
