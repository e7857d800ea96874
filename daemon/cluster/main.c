/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd-cluster: the process that speaks to etcd. It has TLS files and a network, and nothing else: no key, no
 * capability, no other file, no way to a server. It hands texts to the keeper, which believes none of them but by
 * its MAC. It is a program of its own because libcurl and a TLS library have no business in a process
 * that holds keys, and it runs only where kekd.yaml has `cluster:`.
 *
 * kekctl starts it, too, to read all of etcd (ctl/etcdread.c): as who runs kekctl, with the same sandbox.
 *
 * Three processes of it. The keeper starts one (daemon/keeper/cluster.c) before it gives up what opens a TCP socket, and
 * can start no other. So that one makes a twin of itself: each waits for links, which are a byte and a descriptor at
 * descriptor 3, and when the other dies makes another. Whichever takes a link forks the third, which closes its sandbox and
 * serves the link (PROTOCOL.carrier); when that dies of what a taken-over etcd sends, the keeper sends the next one.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/cluster/carrier.h"
#include "daemon/cluster/etcd.h"
#include "daemon/cluster/http.h"
#include "daemon/sys/fdpass.h"
#include "daemon/sys/sandbox.h"

#define CONTROL_FD 3
#define RANGE_MS   30000
#define RETRY_MS   60000
#define PAUSE_US   100000 /* before the next twin, so that one that dies at once is no load */

#define KEY_MAX    512
#define KEYSET_KEY "keyset"
#define ACK_KEY    "ack/"
#define HEX_LEN    (2 * (size_t)CARRIER_NODE)

struct cluster {
	struct carrier *link;
	struct http *http;
	char prefix[KEY_MAX - 64]; /* ends with '/' */
};

static void release(struct cluster *c)
{
	carrier_free(c->link);
	http_free(c->http);
}

/* The name of a key: PREFIX/keyset, PREFIX/ack/NODE. */
static void key_of(const struct cluster *c, const struct carrier_head *m, char ret[static KEY_MAX])
{
	size_t n = (size_t)snprintf(ret, KEY_MAX, "%s%s", c->prefix,
				    m->kind == CARRIER_KEYSET ? KEYSET_KEY : ACK_KEY);

	for (size_t i = 0; m->kind == CARRIER_ACK && i < CARRIER_NODE; i++)
		n += (size_t)snprintf(ret + n, KEY_MAX - n, "%02x", m->node[i]);
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The reverse. False: a key of another name, which is none of ours. */
static bool head_of(const struct cluster *c, struct span key, struct carrier_head *ret)
{
	struct span prefix = span_str(c->prefix), ack = span_str(ACK_KEY);

	if (!span_starts_with(key, prefix))
		return false;
	key = span_skip(key, prefix.len);
	if (span_equal(key, span_str(KEYSET_KEY))) {
		ret->kind = CARRIER_KEYSET;
		return true;
	}
	if (!span_starts_with(key, ack) || key.len != ack.len + HEX_LEN)
		return false;
	key = span_skip(key, ack.len);
	for (size_t i = 0; i < CARRIER_NODE; i++) {
		int high = hex(key.data[2 * i]), low = hex(key.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret->node[i] = (uint8_t)(high << 4 | low);
	}
	ret->kind = CARRIER_ACK;
	return true;
}

static int give_item(void *ctx, const struct etcd_kv *kv)
{
	struct cluster *c = ctx;
	struct carrier_head m = { .type = CARRIER_ITEM, .revision = kv->mod_revision };

	if (kv->value.len > CARRIER_TEXT_MAX || !head_of(c, kv->key, &m))
		return 0;
	return carrier_put(c->link, &m, kv->value);
}

static int done(struct cluster *c, int result, const struct http_call *call,
		const struct etcd_answer *answer)
{
	struct carrier_head m = {
		.type = CARRIER_DONE,
		.result = result,
		.revision = answer->revision,
		.cluster = answer->cluster,
		.days = http_days(c->http),
		.endpoint = (uint32_t)call->endpoint,
	};

	return carrier_put(c->link, &m, span_str(call->words));
}

/* What came as an answer is none, or is refused by the link. */
static int decoded(int r, struct http_call *call)
{
	if (r == -E2BIG)
		snprintf(call->words, sizeof(call->words),
			 "there are more than %d keys under the prefix, which only kekd may "
			 "use: name another prefix",
			 ETCD_KEYS_MAX);
	else if (r == -EPROTO)
		snprintf(call->words, sizeof(call->words),
			 "the endpoint's answer is not one that etcd 3.4 to 3.6 gives: is it "
			 "etcd's client URL?");
	return r;
}

static int on_setup(struct cluster *c, const struct carrier_head *m, struct span body);

static int on_read(struct cluster *c, const struct carrier_head *m _unused_,
		   struct span body _unused_)
{
	_cleanup_free_ uint8_t *message = NULL;
	struct http_call call = { .path = ETCD_RANGE };
	struct etcd_answer answer = { 0 };
	size_t len;
	int r = etcd_range_encode(c->prefix, &message, &len);

	if (r < 0)
		return r;
	call.message = span_of(message, len);
	r = http_do(c->http, &call);
	if (r == 0)
		r = decoded(etcd_range_decode(call.body, give_item, c, &answer), &call);
	return r == -ENOMEM ? r : done(c, r, &call, &answer);
}

static int on_put(struct cluster *c, const struct carrier_head *m, struct span body)
{
	_cleanup_free_ uint8_t *message = NULL;
	struct http_call call = { .path = ETCD_TXN };
	struct etcd_answer answer = { 0 };
	char key[KEY_MAX];
	size_t len;
	int r;

	key_of(c, m, key);
	r = etcd_txn_encode(key, m->revision, body, &message, &len);
	if (r < 0)
		return r;
	call.message = span_of(message, len);
	r = http_do(c->http, &call);
	if (r == 0)
		r = decoded(etcd_txn_decode(call.body, give_item, c, &answer), &call);
	if (r == 0 && !answer.put)
		r = -EEXIST;
	return r == -ENOMEM ? r : done(c, r, &call, &answer);
}

/* As it is, for who has sent it: what is in it, kekctl looks at. It may be long. */
static int on_range(struct cluster *c, const struct carrier_head *m _unused_, struct span body)
{
	struct http_call call = { .path = ETCD_RANGE, .message = body, .timeout_ms = RANGE_MS };
	struct etcd_answer answer = { 0 };
	int r = http_do(c->http, &call);

	if (r == -ENOMEM)
		return r;
	if (r == 0 &&
	    carrier_put(c->link, &(struct carrier_head){ .type = CARRIER_ANSWER }, call.body) < 0)
		return -ENOMEM;
	return done(c, r, &call, &answer);
}

/* The keeper's messages, and kekctl's; SETUP comes first and once. */
static const struct {
	int (*run)(struct cluster *c, const struct carrier_head *m, struct span body);
	bool set_up;
} requests[CARRIER_TYPES] = {
	[CARRIER_SETUP] = { on_setup, false },
	[CARRIER_READ] = { on_read, true },
	[CARRIER_PUT] = { on_put, true },
	[CARRIER_RANGE] = { on_range, true },
};

/* The TLS files' directories, as a file that is replaced is another one; the endpoints' ports. */
static int cluster_lock_down(const struct carrier_setup *s)
{
	const char *files[] = { s->ca, s->cert, s->key };
	uint16_t ports[CARRIER_ENDPOINTS_MAX];
	int r;

	for (size_t i = 0; i < s->n_endpoints; i++) {
		const char *colon = strrchr(s->endpoints[i], ':');

		ports[i] = colon ? (uint16_t)atoi(colon + 1) : 0;
	}
	r = sandbox_files_cluster(files, ARRAY_SIZE(files), ports, s->n_endpoints);
	if (r == 0 || r == -EOPNOTSUPP) /* no Landlock: the keeper has said so */
		r = sandbox_seccomp_cluster();
	return r;
}

static int on_setup(struct cluster *c, const struct carrier_head *m _unused_, struct span body)
{
	struct carrier_setup s;
	int r = carrier_setup_parse(body, &s);

	if (r == 0 && strlen(s.prefix) + 2 > sizeof(c->prefix))
		r = -EPROTO;
	if (r < 0)
		return r;
	snprintf(c->prefix, sizeof(c->prefix), "%s/", s.prefix);
	r = http_new(&s, &c->http);
	return r < 0 ? r : cluster_lock_down(&s);
}

static int turn(struct cluster *c)
{
	struct pollfd p = { .fd = carrier_fd(c->link), .events = carrier_events(c->link) };
	struct carrier_head m;
	struct span body;
	int r;

	if (poll(&p, 1, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	r = carrier_flush(c->link);
	if (r == 0)
		r = carrier_read(c->link, &m, &body);
	if (r <= 0)
		return r;
	if (!requests[m.type].run || requests[m.type].set_up != (c->http != NULL))
		return -EPROTO;
	r = requests[m.type].run(c, &m, body);
	return r < 0 ? r : carrier_flush(c->link);
}

/* Until the keeper is gone. @fd consumed. */
static int link_serve(int fd)
{
	_cleanup_(release) struct cluster c = { 0 };
	int r = carrier_new(fd, CARRIER_CLUSTER, &c.link);

	if (r < 0)
		close(fd);
	while (r == 0)
		r = turn(&c);
	return r == -ENODATA || r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

static _noreturn_ void child(int fd, int twin, pid_t parent)
{
	int r;

	close(CONTROL_FD);
	if (twin >= 0)
		close(twin);
	r = sandbox_die_with(parent);
	if (r == 0)
		r = link_serve(fd);
	if (r < 0)
		log_error("%s", errno_text(r));
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* A link, for who serves it. -EAGAIN: the twin has it. -ENODATA: the keeper is gone. */
static int take_link(int twin)
{
	pid_t self = getpid(), pid;
	size_t len, n = 0;
	uint8_t byte;
	bool lost;
	int fd, r = fdpass_recv(CONTROL_FD, &byte, sizeof(byte), &len, &fd, 1, &n, &lost);

	if (r < 0)
		return r;
	if (n != 1)
		return -EPROTO;
	pid = fork();
	if (pid == 0)
		child(fd, twin, self);
	if (pid < 0)
		log_error("cannot start another process: %s", errno_text(errno));
	close(fd);
	return 0;
}

/* *ret is open for as long as the other one lives; both return. */
static int twin_start(int *ret)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	*ret = pid == 0 ? fds[1] : fds[0];
	close(pid == 0 ? fds[0] : fds[1]);
	if (pid >= 0)
		return 0;
	close(move_fd(*ret));
	return -EAGAIN;
}

/* Children are not waited for: SIGCHLD is ignored, so they leave nothing behind. */
static int launch(void)
{
	_cleanup_close_ int twin = -1;
	int r = fcntl(CONTROL_FD, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;

	while (r == 0) {
		struct pollfd p[2] = { { .fd = CONTROL_FD, .events = POLLIN } };

		if (twin < 0 && twin_start(&twin) < 0)
			log_error("cannot start a twin");
		p[1].fd = twin;
		if (poll(p, ARRAY_SIZE(p), twin < 0 ? RETRY_MS : -1) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			r = take_link(twin);
		if (r == -EAGAIN)
			r = 0;
		if (r == 0 && p[1].revents) {
			close(move_fd(twin));
			usleep(PAUSE_US);
		}
	}
	return r == -ENODATA ? 0 : r;
}

int main(int argc, char **argv)
{
	bool debug = argc == 2 && strcmp(argv[1], "--debug") == 0;
	int r;

	if (argc != 1 && !debug) {
		fputs("kekd starts this program; see cluster: in kekd.yaml(5)\n", stderr);
		return 2;
	}
	log_init("kekd-cluster", debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	r = sandbox_init();
	if (r == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		r = -ENOMEM;
	if (r == 0)
		r = sandbox_seccomp_launcher();
	if (r == 0)
		r = launch();
	if (r == 0)
		return EXIT_SUCCESS;
	log_error("%s", errno_text(r));
	return EXIT_FAILURE;
}
