/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's life, in order:
 *   1. configuration      parse all of it before anything is touched
 *   2. harden             not dumpable, no core, umask
 *   3. acquire            root key, key store, keys, listeners
 *   4. drop               capabilities, files and system calls that a running keeper does not need
 *   5. servers            start them, hand them op sockets
 *   6. loop               signals, the links, admin requests, the watch over the keys
 *
 * Nothing here is on the path of a request, so the loop is plain poll(2).
 */
#include "daemon/keeper/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keeper/spawn.h"
#include "daemon/sys/notify.h"
#include "daemon/sys/sandbox.h"

#define TICK_NS     500000000L
#define WATCHES     120 /* of which one is said, so that --debug has a line a minute */
#define STOP_NS     (UINT64_C(8) * 1000 * 1000 * 1000)
#define LOCKED_SELF (UINT64_C(8) << 20) /* beside the message pool: runs, keys, engine */

static int keeper_new(const struct keeper_options *opt, struct keeper **ret)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->opt = opt;
	k->started = time(NULL);
	k->started_ns = now_ns();
	k->transform_fd = k->metrics_fd = k->audit_fd = -1;
	k->test_tfm = k->admin_fd = k->exe_fd = k->signal_fd = k->timer_fd = -1;
	for (size_t i = 0; i < KEKD_WORKERS_MAX; i++)
		k->workers[i].link_fd = -1;
	*ret = k;
	return 0;
}

static void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	admin_close(k);
	observer_close(k);
	keeper_audit_close(k);
	sockets_close(k);
	custody_close(k);
	conf_free(k->next_conf);
	conf_free(k->conf);
	closep(&k->exe_fd);
	for (size_t i = 0; i < KEKD_WORKERS_MAX; i++)
		closep(&k->workers[i].link_fd);
	closep(&k->signal_fd);
	closep(&k->timer_fd);
	free(k);
}
DEFINE_CLEANUP(struct keeper *, keeper_free);

static int signals_open(struct keeper *k)
{
	struct itimerspec tick = {
		.it_interval = { .tv_nsec = TICK_NS },
		.it_value = { .tv_nsec = TICK_NS },
	};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	/* A log whose reader is gone must not end the daemon. The server inherits this. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signal_fd < 0)
		return -errno;
	k->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (k->timer_fd < 0 || timerfd_settime(k->timer_fd, 0, &tick, NULL) < 0)
		return -errno;
	return 0;
}

static int limits(struct keeper *k)
{
	const struct config_limits *l = &k->conf->config->limits;
	uint64_t locked = l->locked_memory + LOCKED_SELF;
	int r;

	if (k->conf->config->transform.socket)
		locked += LINK_TRANSFORM_LOCKED;
	/* With backend openssl the server wants all of itself locked, and says if that fails. */
	if (!keeper_is_kernel(k))
		sandbox_limits(SANDBOX_NO_LIMIT, 0);
	r = sandbox_limits(locked, l->connections + UINT64_C(4096));
	if (r < 0)
		log_warning(
			"cannot raise RLIMIT_MEMLOCK or RLIMIT_NOFILE for limits.lockedMemoryBytes and "
			"limits.connections: %s; under load requests will be refused. Set "
			"LimitMEMLOCK= and LimitNOFILE= of the service",
			errno_text(r));
	return 0;
}

static int acquire(struct keeper *k)
{
	int r;

	r = limits(k);
	if (r == 0)
		r = spawn_self_open(&k->exe_fd);
	if (r == 0)
		r = signals_open(k);
	if (r < 0) {
		log_error("cannot start: %s", errno_text(r));
		return r;
	}
	r = custody_open(k);
	if (r < 0)
		return r;
	r = keeper_audit_open(k);
	if (r < 0)
		return r;
	custody_names_check(k, k->conf); /* may make keys */
	r = observer_open(k);
	return r < 0 ? r : sockets_open(k);
}

static void stop(struct keeper *k)
{
	if (k->stopping)
		return;
	log_notice("stopping: calls in flight are finished first");
	notify_state("STOPPING=1");
	k->stopping = true;
	k->stop_at_ns = now_ns() + STOP_NS;
	server_ask_stop(k);
}

static void reload(struct keeper *k)
{
	_cleanup_(conf_freep) struct conf *next = NULL;

	if (conf_load(k->opt->config_path, &next) < 0) {
		log_error("reload refused; the old configuration stays in force");
		return;
	}
	if (conf_reloadable(k->conf, next) < 0)
		return;
	k->next_conf = move_ptr(next);
	log_debug("reload: both files are read; the servers are asked");
	custody_names_check(k, k->next_conf); /* the keys first: the chains that use them follow */
	if (server_reload_start(k))
		return;
	log_debug("reload: no server takes it; it waits for the next");
	conf_free(move_ptr(k->next_conf));
}

/* One at a time, and only when each server is there to say yes or no. */
static void reload_if_wanted(struct keeper *k)
{
	if (!k->reload_wanted || k->next_conf || server_serving(k) < k->n_workers)
		return;
	k->reload_wanted = false;
	reload(k);
}

static void keeper_on_signal(struct keeper *k)
{
	struct signalfd_siginfo si;

	while (read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGTERM:
		case SIGINT:
			stop(k);
			break;
		case SIGHUP:
			log_debug("reload: asked for by SIGHUP of pid %u", si.ssi_pid);
			k->reload_wanted = true;
			break;
		case SIGCHLD:
			server_reap(k);
			break;
		}
	}
}

static void keeper_on_timer(struct keeper *k)
{
	uint64_t ticks;

	if (k->watches++ % WATCHES == 0)
		log_debug("timer: watch over keys and servers, %llu until now",
			  (unsigned long long)k->watches);
	if (read(k->timer_fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
		custody_watch(k);
	rotation_tick(k, now_ns());
	server_watch(k, now_ns());
	observer_tick(k, now_ns());
	keeper_audit_tick(k, now_ns());
	if (k->stopping && now_ns() >= k->stop_at_ns) {
		log_warning("the server does not end; killing it");
		server_kill(k);
	}
}

enum {
	POLL_SIGNAL,
	POLL_TIMER,
	POLL_ADMIN,
	POLL_CLIENT,
	POLL_LINK = POLL_CLIENT + ADMIN_CLIENTS,
	POLL_MAX = POLL_LINK + KEKD_WORKERS_MAX,
};

static int keeper_turn(struct keeper *k)
{
	struct pollfd p[POLL_MAX] = {
		[POLL_SIGNAL] = { .fd = k->signal_fd, .events = POLLIN },
		[POLL_TIMER] = { .fd = k->timer_fd, .events = POLLIN },
		[POLL_ADMIN] = { .fd = k->admin_fd, .events = POLLIN },
	};

	admin_poll(k, p + POLL_CLIENT);
	for (size_t i = 0; i < KEKD_WORKERS_MAX; i++)
		p[POLL_LINK + i] = (struct pollfd){ .fd = k->workers[i].link_fd, .events = POLLIN };
	if (poll(p, ARRAY_SIZE(p), server_wait_ms(k, now_ns())) < 0)
		return errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < k->n_workers; i++)
		if (p[POLL_LINK + i].revents)
			worker_hear(k, &k->workers[i]);
	if (p[POLL_SIGNAL].revents)
		keeper_on_signal(k);
	if (p[POLL_TIMER].revents)
		keeper_on_timer(k);
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (p[POLL_CLIENT + i].revents)
			admin_serve(k, i);
	admin_tick(k, now_ns());
	if (p[POLL_ADMIN].revents)
		admin_accept(k);
	server_reload_end(k);
	reload_if_wanted(k);
	server_tick(k, now_ns());
	return 0;
}

static int loop(struct keeper *k)
{
	int r = 0;

	while (r == 0 && !k->ended)
		r = keeper_turn(k);
	if (r < 0)
		log_error("keeper: %s", errno_text(r));
	return r < 0 ? EXIT_FAILURE : k->status;
}

int keeper_check(const struct keeper_options *opt)
{
	_cleanup_(conf_freep) struct conf *c = NULL;

	if (conf_load(opt->config_path, &c) < 0)
		return EXIT_FAILURE;
	printf("%s and %s: no errors\n", opt->config_path, c->config->encryption_config);
	return EXIT_SUCCESS;
}

int keeper_main(const struct keeper_options *opt)
{
	_cleanup_(keeper_freep) struct keeper *k = NULL;

	if (keeper_new(opt, &k) < 0)
		return EXIT_FAILURE;
	if (conf_load(opt->config_path, &k->conf) < 0)
		return EXIT_FAILURE;
	if (sandbox_init() < 0 || acquire(k) < 0 || lockdown(k) < 0)
		return EXIT_FAILURE;
	if (server_start(k) < 0)
		return EXIT_FAILURE;
	return loop(k);
}
