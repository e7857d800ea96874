/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubectl is started by fork and exec and not by posix_spawn(3), since only fork lets it be told to die with its
 * parent, and an orphaned proxy would be an open door to the cluster. Between the two only calls that
 * are safe after a fork. Its environment is the caller's, as kubectl, its login helpers and proxies may need
 * anything of it, but for what is dangerous where the cluster's credentials are: env_dangerous.
 *
 * The directory of the socket is 0700 and the socket 0600 (kubectl's own doing), so root and this user
 * get in and no one else. Name of the host in requests is "localhost", the only one that the proxy takes.
 */
#include "daemon/ctl/kubeapi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/http1.h"

/* Trees are about ten times as large as their text. */
#define ARENA_MAX   (UINT32_C(32) * 1024 * 1024)
#define ARENA_MIN   (UINT32_C(1) * 1024 * 1024)
#define HEAD_MAX    8192
#define ROOM_MAX    64
#define ROOM_MIN    4
#define NS          UINT64_C(1000000000)
#define SOCKET_NAME "/kubectl.sock"

#define METADATA(kind) "application/json;as=PartialObjectMetadata" kind ";g=meta.k8s.io;v=v1"

/* Where jansson's memory comes from while a kubeapi is open: the hooks take no context. */
static struct arena {
	uint8_t *data;
	size_t size, used;
	bool full; /* something did not fit */
} arena;

/* A request under way; none: fd is -1. */
struct slot {
	int fd;
	uint8_t *data; /* KUBEAPI_PIECE bytes of kubeapi.pieces */
	size_t len;
	uint64_t begun;
	void *ctx;
};

struct kubeapi {
	pid_t pid;
	int out; /* its standard output: it may say more than its first line */
	struct slot slots[ROOM_MAX];
	uint8_t *pieces; /* locked */
	unsigned int room, flying;
	unsigned int turn; /* which slot is looked at first, so that none waits behind the others */
	char dir[64];
	char socket[64 + sizeof(SOCKET_NAME)];
};

/* --- the arena ------------------------------------------------------------------------------- */

static void *kubeapi_arena_alloc(size_t size)
{
	size_t at = (arena.used + 15) & ~(size_t)15;

	if (size > arena.size || at > arena.size - size) {
		arena.full = true;
		return NULL;
	}
	arena.used = at + size;
	return arena.data + at;
}

static void arena_no_free(void *p _unused_)
{
}

static void arena_reset(void)
{
	secmem_wipe(arena.data, arena.used);
	arena.used = 0;
	arena.full = false;
}

/* Take as much as RLIMIT_MEMLOCK allows. */
static int kubeapi_arena_open(void)
{
	size_t size = ARENA_MAX;

	while (!(arena.data = secmem_alloc(size)) && size > ARENA_MIN)
		size /= 2;
	if (!arena.data)
		return ctl_fail("no locked memory; raise RLIMIT_MEMLOCK (ulimit -l)");
	arena.size = size;
	json_set_alloc_funcs(kubeapi_arena_alloc, arena_no_free);
	return 0;
}

/* Memory for answers that come at the same time. It is taken before the arena, which takes what is left. */
static int pieces_open(struct kubeapi *api)
{
	unsigned int room = ROOM_MAX;

	while (!(api->pieces = secmem_alloc((size_t)room * KUBEAPI_PIECE)) && room > ROOM_MIN)
		room /= 2;
	if (!api->pieces)
		return ctl_fail("no locked memory; raise RLIMIT_MEMLOCK (ulimit -l)");
	for (unsigned int i = 0; i < room; i++)
		api->slots[i] = (struct slot){ .fd = -1, .data = api->pieces + i * KUBEAPI_PIECE };
	api->room = room;
	return 0;
}

/* --- kubectl --------------------------------------------------------------------------------- */

/*
 * What is not kubectl's configuration but power over its process, as the beginnings of names: the loader
 * takes code from LD_* and GLIBC_TUNABLES (ld.so(8)); a shell, which a login helper may be a script of,
 * runs BASH_ENV, ENV and BASH_FUNC_*; Go prints tokens with GODEBUG=http2debug=2 and can be told to
 * check certificates less; and SSLKEYLOGFILE has a TLS library write the keys of its connections down.
 */
static const char *const env_dangerous[] = {
	"LD_", "GLIBC_TUNABLES=", "BASH_ENV=", "ENV=", "BASH_FUNC_", "GODEBUG=", "SSLKEYLOGFILE="
};

/* The caller frees the array; what it points to is environ's. */
static char **kubeapi_env(void)
{
	size_t n = 0;
	char **ret;

	while (environ[n])
		n++;
	ret = calloc(n + 1, sizeof(*ret));
	n = 0;
	for (char **e = environ; ret && *e; e++) {
		bool dangerous = false;

		for (size_t i = 0; i < ARRAY_SIZE(env_dangerous); i++)
			if (strncmp(*e, env_dangerous[i], strlen(env_dangerous[i])) == 0)
				dangerous = true;
		if (!dangerous)
			ret[n++] = *e;
	}
	return ret;
}

#define ARGS_MAX 10

static void args_make(const struct kubeapi *api, const struct kubeapi_options *o, char **argv,
		      char *buf, size_t size)
{
	size_t n = 0;

	snprintf(buf, size, "--unix-socket=%s", api->socket);
	argv[n++] = (char *)(uintptr_t) "kubectl";
	argv[n++] = (char *)(uintptr_t) "proxy";
	argv[n++] = buf;
	/* only of pods, services and nodes, as a Secret's name may be "proxy", too */
	argv[n++] =
		(char *)(uintptr_t) "--reject-paths=^/api/v1/(namespaces/[^/]+/)?(pods|services|nodes)/"
				    "[^/]+/(exec|attach|portforward|proxy)(/|$)";
	argv[n++] = (char *)(uintptr_t)(o->post ? "--reject-methods=^(PUT|DELETE)$"
						: "--reject-methods=^(PUT|POST|DELETE)$");
	if (o->kubeconfig) {
		argv[n++] = (char *)(uintptr_t) "--kubeconfig";
		argv[n++] = (char *)(uintptr_t)o->kubeconfig;
	}
	if (o->context) {
		argv[n++] = (char *)(uintptr_t) "--context";
		argv[n++] = (char *)(uintptr_t)o->context;
	}
	argv[n] = NULL;
}

/* @out: its standard output. Standard error stays the terminal's. */
static _noreturn_ void kubeapi_child(int out, pid_t parent, char **argv, char **env)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0); /* Ctrl-C is for kekctl, which ends in good order */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
		_exit(126);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	execvpe(argv[0], argv, env);
	_exit(errno == ENOENT ? 127 : 126);
}

static int kubeapi_spawn(struct kubeapi *api, const struct kubeapi_options *o)
{
	_cleanup_free_ char **env = kubeapi_env();
	char *argv[ARGS_MAX], buf[128];
	_cleanup_close_ int out = -1, theirs = -1;
	pid_t parent = getpid();
	int fds[2];

	if (!env)
		return ctl_fail("out of memory");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return ctl_fail("pipe: %s", errno_text(errno));
	out = fds[0];
	theirs = fds[1];
	args_make(api, o, argv, buf, sizeof(buf));
	api->pid = fork();
	if (api->pid < 0)
		return ctl_fail("fork: %s", errno_text(errno));
	if (api->pid == 0)
		kubeapi_child(theirs, parent, argv, env);
	api->out = move_fd(out);
	return 0;
}

/* The proxy prints one line when it serves. */
static int await_start(struct kubeapi *api)
{
	char line[256];
	int status = 0;

	if (read(api->out, line, sizeof(line)) > 0)
		return 0;
	waitpid(api->pid, &status, 0);
	api->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return ctl_fail("there is no kubectl in PATH");
	return ctl_fail("kubectl proxy did not start");
}

static int dir_make(struct kubeapi *api)
{
	strcpy(api->dir, access("/run", W_OK) == 0 ? "/run/kekctl.XXXXXX" : "/tmp/kekctl.XXXXXX");
	if (!mkdtemp(api->dir)) {
		api->dir[0] = '\0';
		return ctl_fail("cannot make a directory for kubectl's socket: %s",
				errno_text(errno));
	}
	strcpy(api->socket, api->dir);
	strcat(api->socket, SOCKET_NAME);
	return 0;
}

int kubeapi_open(const struct kubeapi_options *options, struct kubeapi **ret)
{
	_cleanup_(kubeapi_closep) struct kubeapi *api = calloc(1, sizeof(*api));

	if (!api)
		return ctl_fail("out of memory");
	api->out = -1;
	if (pieces_open(api) != 0 || kubeapi_arena_open() != 0 || dir_make(api) != 0 ||
	    kubeapi_spawn(api, options) != 0 || await_start(api) != 0)
		return 1;
	*ret = move_ptr(api);
	return 0;
}

void kubeapi_close(struct kubeapi *api)
{
	if (!api)
		return;
	if (api->pid > 0) {
		kill(api->pid, SIGTERM);
		waitpid(api->pid, NULL, 0);
	}
	if (api->out >= 0)
		close(api->out);
	if (api->dir[0]) {
		unlink(api->socket);
		rmdir(api->dir);
	}
	kubeapi_drop(api);
	secmem_free(api->pieces, (size_t)api->room * KUBEAPI_PIECE);
	json_set_alloc_funcs(malloc, free);
	secmem_free(arena.data, arena.size);
	arena = (struct arena){ 0 };
	free(api);
}

/* Read until the other side closes, into what is left of the arena. */
static int kubeapi_read_all(int fd, struct span *ret)
{
	uint8_t *start = arena.data + arena.used;
	size_t n = 0;
	int r;

	r = io_read_all(fd, start, arena.size - arena.used, &n);
	if (r < 0)
		return r;
	arena.used += n;
	if (arena.used == arena.size)
		return -ENOBUFS;
	*ret = span_of(start, n);
	return 0;
}

/* Connect and ask. The answer is all that comes until the other side closes. */
static int proxy_ask(const struct kubeapi *api, const struct kubeapi_request *req, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char head[HEAD_MAX];
	_cleanup_close_ int fd = -1;
	const char *accept = "application/json", *content = NULL;
	size_t len = req->body ? strlen(req->body) : 0;
	int n, r;

	/* A list and an object are asked for by different names. */
	if (req->metadata_only)
		accept = strcmp(req->method, "GET") == 0 ? METADATA("List") : METADATA("");
	if (req->body)
		content = strcmp(req->method, "PATCH") == 0 ? "application/merge-patch+json"
							    : "application/json";
	n = http1_request(head, sizeof(head), req->method, req->path, accept, content, len);
	if (n < 0)
		return n;
	strcpy(addr.sun_path, api->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	if (r == 0)
		r = io_send_all(fd, head, (size_t)n);
	if (r == 0 && req->body)
		r = io_send_all(fd, req->body, len);
	if (r == -EPIPE || r == -ECONNRESET)
		r = -EBADMSG; /* the proxy is there, but hung up on this request */
	if (r == 0)
		*ret_fd = move_fd(fd);
	return r;
}

/* The tree is in the arena, behind @bytes if they are there, too. */
static int kubeapi_judge(struct span bytes, struct kubeapi_answer *ret)
{
	struct http1_answer answer;
	int r;

	r = http1_answer(bytes, &answer);
	if (r < 0)
		return r;
	ret->status = answer.status;
	ret->retry_after = answer.retry_after;
	ret->body = json_loadb((const char *)answer.body.data, answer.body.len, 0, NULL);
	if (!ret->body && arena.full)
		return -ENOBUFS;
	/* What went well is JSON always; a refusal may be text of the proxy. */
	return !ret->body && answer.status < 300 ? -EBADMSG : 0;
}

int kubeapi_call(struct kubeapi *api, const struct kubeapi_request *req, struct kubeapi_answer *ret)
{
	_cleanup_close_ int fd = -1;
	struct span bytes;

	arena_reset();
	*ret = (struct kubeapi_answer){ 0 };
	ret->r = proxy_ask(api, req, &fd);
	if (ret->r == 0)
		ret->r = kubeapi_read_all(fd, &bytes);
	if (ret->r == 0)
		ret->r = kubeapi_judge(bytes, ret);
	return ret->r;
}

/* --- many at once ---------------------------------------------------------------------------- */

uint64_t kubeapi_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

unsigned int kubeapi_room(const struct kubeapi *api)
{
	return api->room;
}

unsigned int kubeapi_flying(const struct kubeapi *api)
{
	return api->flying;
}

static void slot_clear(struct kubeapi *api, struct slot *s)
{
	close(s->fd);
	secmem_wipe(s->data, s->len);
	*s = (struct slot){ .fd = -1, .data = s->data };
	api->flying--;
}

int kubeapi_start(struct kubeapi *api, const struct kubeapi_request *req, void *ctx)
{
	struct slot *s = api->slots;
	int r;

	if (api->flying == api->room)
		return -EBUSY;
	while (s->fd >= 0)
		s++;
	r = proxy_ask(api, req, &s->fd);
	if (r < 0)
		return r;
	s->ctx = ctx;
	s->begun = kubeapi_now();
	api->flying++;
	return 0;
}

/* Read what is there. 1: that was all, and *@ret_r says how it ended. */
static int slot_read(struct slot *s, int *ret_r)
{
	ssize_t n = recv(s->fd, s->data + s->len, KUBEAPI_PIECE - s->len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	*ret_r = n < 0 ? -EBADMSG : 0; /* cut off */
	if (n <= 0)
		return 1;
	s->len += (size_t)n;
	*ret_r = -ENOBUFS;
	return s->len == KUBEAPI_PIECE;
}

/* 1 if one can be read, 0 at @until or for a signal. */
static int slots_poll(const struct kubeapi *api, uint64_t until, struct pollfd *fds)
{
	uint64_t t = kubeapi_now(), left = until > t ? until - t : 0;
	struct timespec wait = { .tv_sec = (time_t)(left / NS), .tv_nsec = (long)(left % NS) };

	for (unsigned int i = 0; i < api->room; i++)
		fds[i] = (struct pollfd){ .fd = api->slots[i].fd, .events = POLLIN };
	return ppoll(fds, api->room, &wait, NULL) > 0;
}

int kubeapi_next(struct kubeapi *api, uint64_t until, struct kubeapi_answer *ret)
{
	struct pollfd fds[ROOM_MAX];
	int r;

	while (slots_poll(api, until, fds))
		for (unsigned int i = 0; i < api->room; i++) {
			unsigned int at = api->turn++ % api->room;
			struct slot *s = &api->slots[at];

			if (!fds[at].revents || !slot_read(s, &r))
				continue;
			arena_reset();
			*ret = (struct kubeapi_answer){ .ctx = s->ctx,
							.took = kubeapi_now() - s->begun };
			ret->r = r < 0 ? r : kubeapi_judge(span_of(s->data, s->len), ret);
			slot_clear(api, s);
			return 1;
		}
	return 0;
}

void kubeapi_drop(struct kubeapi *api)
{
	for (unsigned int i = 0; i < api->room; i++)
		if (api->slots[i].fd >= 0)
			slot_clear(api, &api->slots[i]);
}
