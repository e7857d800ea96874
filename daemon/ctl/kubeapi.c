/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubectl is started by fork and exec and not by posix_spawn(3): only so can it be told to die with its
 * parent, and an orphaned proxy would be an open door to the cluster. Between the two only calls that
 * are safe after a fork. Its environment is what kubectl and its login helpers need and no more.
 *
 * The directory of the socket is 0700 and the socket 0600 (kubectl's own doing), so root and this user
 * get in and no one else. Name of the host in requests is "localhost", the only one that the proxy takes.
 */
#include "daemon/ctl/kubeapi.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/http1.h"

/* Trees are about ten times as large as their text. */
#define ARENA_MAX   (UINT32_C(32) * 1024 * 1024)
#define ARENA_MIN   (UINT32_C(1) * 1024 * 1024)
#define HEAD_MAX    8192
#define SOCKET_NAME "/kubectl.sock"

#define METADATA(kind) "application/json;as=PartialObjectMetadata" kind ";g=meta.k8s.io;v=v1"

/* Where jansson's memory comes from while a kubeapi is open: the hooks take no context. */
static struct arena {
	uint8_t *data;
	size_t size, used;
	bool full; /* something did not fit */
} arena;

struct kubeapi {
	pid_t pid;
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

/* As much as RLIMIT_MEMLOCK has. */
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

static void kubeapi_arena_close(void)
{
	json_set_alloc_funcs(malloc, free);
	secmem_free(arena.data, arena.size);
	arena = (struct arena){ 0 };
}

/* --- kubectl --------------------------------------------------------------------------------- */

static const char *const env_kept[] = { "PATH=",     "HOME=",        "KUBECONFIG=",
					"USER=",     "HTTPS_PROXY=", "https_proxy=",
					"NO_PROXY=", "no_proxy=",    "SSL_CERT_FILE=" };

static void kubeapi_env_filter(char *env[static ARRAY_SIZE(env_kept) + 1])
{
	size_t n = 0;

	for (char **e = environ; *e && n < ARRAY_SIZE(env_kept); e++)
		for (size_t i = 0; i < ARRAY_SIZE(env_kept); i++)
			if (strncmp(*e, env_kept[i], strlen(env_kept[i])) == 0) {
				env[n++] = *e;
				break;
			}
	env[n] = NULL;
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
	argv[n++] = (char *)(uintptr_t) "--reject-paths=^/api/.*/(exec|attach|portforward|proxy)";
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

static int kubeapi_spawn(struct kubeapi *api, const struct kubeapi_options *o, int *ret_out)
{
	char *env[ARRAY_SIZE(env_kept) + 1], *argv[ARGS_MAX], buf[128];
	_cleanup_close_ int out = -1, theirs = -1;
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return ctl_fail("pipe: %s", errno_text(errno));
	out = fds[0];
	theirs = fds[1];
	args_make(api, o, argv, buf, sizeof(buf));
	kubeapi_env_filter(env);
	api->pid = fork();
	if (api->pid < 0)
		return ctl_fail("fork: %s", errno_text(errno));
	if (api->pid == 0)
		kubeapi_child(theirs, parent, argv, env);
	*ret_out = move_fd(out);
	return 0;
}

static int ended_early(struct kubeapi *api)
{
	int status = 0;

	waitpid(api->pid, &status, 0);
	api->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return ctl_fail("there is no kubectl in PATH");
	return ctl_fail("kubectl proxy did not start");
}

/* It says so in one line when it serves. */
static int await_start(struct kubeapi *api, int out)
{
	char line[256];

	return read(out, line, sizeof(line)) > 0 ? 0 : ended_early(api);
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
	_cleanup_close_ int out = -1;

	if (!api)
		return ctl_fail("out of memory");
	if (kubeapi_arena_open() != 0 || dir_make(api) != 0 ||
	    kubeapi_spawn(api, options, &out) != 0 || await_start(api, out) != 0)
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
	if (api->dir[0]) {
		unlink(api->socket);
		rmdir(api->dir);
	}
	kubeapi_arena_close();
	free(api);
}

/* --- one call -------------------------------------------------------------------------------- */

static int proxy_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

/* Until the other side closes, into what is left of the arena. */
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

static const char *content_type(const char *method, const char *body)
{
	if (!body)
		return NULL;
	return strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : "application/json";
}

/* A list and an object are asked for by different names. */
static const char *accept_type(const char *method, bool metadata_only)
{
	if (!metadata_only)
		return "application/json";
	return strcmp(method, "GET") == 0 ? METADATA("List") : METADATA("");
}

static int exchange(struct kubeapi *api, const char *method, const char *path, const char *body,
		    bool metadata_only, struct span *ret)
{
	char head[HEAD_MAX];
	_cleanup_close_ int fd = -1;
	size_t len = body ? strlen(body) : 0;
	int n, r;

	n = http1_request(head, sizeof(head), method, path, accept_type(method, metadata_only),
			  content_type(method, body), len);
	if (n < 0)
		return n;
	r = proxy_connect(api->socket, &fd);
	if (r == 0)
		r = io_send_all(fd, head, (size_t)n);
	if (r == 0 && body)
		r = io_send_all(fd, body, len);
	return r == 0 ? kubeapi_read_all(fd, ret) : r;
}

int kubeapi_call(struct kubeapi *api, const char *method, const char *path, const char *body,
		 bool metadata_only, struct kubeapi_answer *ret)
{
	struct http1_answer answer;
	struct span bytes;
	int r;

	arena_reset();
	r = exchange(api, method, path, body, metadata_only, &bytes);
	if (r == 0)
		r = http1_answer(bytes, &answer);
	if (r < 0)
		return r;
	*ret = (struct kubeapi_answer){
		.status = answer.status,
		.retry_after = answer.retry_after,
		.body = json_loadb((const char *)answer.body.data, answer.body.len, 0, NULL),
	};
	if (!ret->body && arena.full)
		return -ENOBUFS;
	/* What went well is JSON always; a refusal may be text of the proxy. */
	return !ret->body && answer.status < 300 ? -EBADMSG : 0;
}
