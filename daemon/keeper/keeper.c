/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's life, in order:
 *   1. configuration      parse all of it before anything is touched
 *   2. harden             not dumpable, no core, umask
 *   3. acquire            root key, key store, keys, listeners
 *   4. drop               capabilities, files and system calls that a running keeper does not need
 *   5. servers            start them, hand them op sockets; when the first try for the root key is over
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
#include "daemon/ctl/units.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keeper/spawn.h"
#include "daemon/server/locked.h"
#include "daemon/sys/notify.h"
#include "daemon/sys/sandbox.h"

#define TICK_NS  500000000L
#define STILL_NS (UINT64_C(3) * 1000 * 1000 * 1000) /* between two ticks: the keeper stood still */
#define WATCHES  120 /* of which one is said, so that --debug has a line a minute */
#define STOP_NS  (UINT64_C(8) * 1000 * 1000 * 1000)
#define HOLD_NS  (UINT64_C(10) * 1000 * 1000 * 1000)

static int keeper_new(const struct keeper_options *opt, struct keeper **ret)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->opt = opt;
	k->started = time(NULL);
	k->started_ns = now_ns();
	k->started_at = boot_ns();
	k->transform_fd = k->metrics_fd = k->audit_fd = k->notes_fd = k->notes_end = -1;
	k->rootcmd_fd = k->test_tfm = k->admin_fd = k->exe_fd = k->signal_fd = k->timer_fd = -1;
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
	rootcmd_end(k);
	observer_close(k);
	cluster_close(k);
	keeper_audit_close(k);
	sockets_close(k);
	custody_close(k);
	for (size_t i = 0; i < KEKD_WORKERS_MAX; i++)
		holders_end(&k->workers[i]);
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
	k->writes_aside = true;
	return 0;
}

static int acquire(struct keeper *k)
{
	const struct config *c = k->conf->config;
	int r;

	r = sandbox_limits(locked_of(c), c->limits.connections + UINT64_C(4096));
	if (r < 0)
		log_warning(
			"cannot raise RLIMIT_MEMLOCK or RLIMIT_NOFILE for limits.lockedMemoryBytes and "
			"limits.connections: %s; under load requests will be refused. Set "
			"LimitMEMLOCK= and LimitNOFILE= of the service",
			errno_text(r));
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
	if (r == 0)
		r = cluster_open(k);
	return r < 0 ? r : sockets_open(k);
}

static bool first_try_pends(const struct keeper *k)
{
	return config_root_is_fetched(k->conf->config) && !k->rootcmd_tried && k->sealed < 0;
}

/*
 * Who is ordered after this service finds it with its root key, if that can be had at the first try. If it
 * cannot, the service is there all the same, sealed: that keeps its sockets, and a client is told why.
 */
void keeper_say_ready(struct keeper *k)
{
	if (k->ready || !k->ever_served || first_try_pends(k))
		return;
	k->ready = true;
	log_notice("serving, backend %s, custody %s, ring %s", keeper_backend(k), keeper_custody(k),
		   k->ring_text);
	if (k->n_workers > 1)
		log_notice("%zu server processes", k->n_workers);
	k->ready_owed = notify_state("READY=1") == -EAGAIN;
}

void keeper_reloaded(struct keeper *k, int r)
{
	k->reload_refused = r < 0;
	k->reloads++;
}

/* One at a time, and only when each server is there to say yes or no. */
static void reload_if_wanted(struct keeper *k)
{
	_cleanup_(conf_freep) struct conf *next = NULL;

	if (!k->reload_wanted || k->next_conf || k->n_workers == 0 ||
	    server_serving(k) < k->n_workers)
		return;
	k->reload_wanted = false;
	if (conf_load(k->opt->config_path, &next) < 0) {
		log_error("reload refused; the old configuration stays in force");
		keeper_reloaded(k, -EINVAL);
		return;
	}
	if (conf_reloadable(k->conf, next) < 0) {
		keeper_reloaded(k, -EOPNOTSUPP);
		return;
	}
	custody_names_check(k, next); /* the keys first: the chains that use them follow */
	if (k->stopping)
		return;
	k->next_conf = move_ptr(next);
	log_debug("reload: both files are read; the servers are asked");
	if (server_reload_start(k))
		return;
	log_debug("reload: no server takes it; it waits for the next");
	conf_free(move_ptr(k->next_conf));
}

static void keeper_on_signal(struct keeper *k)
{
	struct signalfd_siginfo si;

	while (read(k->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGTERM:
		case SIGINT:
			if (k->stopping)
				break;
			log_notice("stopping: calls in flight are finished first");
			notify_state("STOPPING=1");
			k->stopping = true;
			k->stop_at_ns = now_ns() + STOP_NS;
			rootcmd_end(k);
			server_ask_stop(k);
			break;
		case SIGHUP:
			log_debug("reload: asked for by SIGHUP of pid %u", si.ssi_pid);
			k->reload_wanted = true;
			sockets_look_again(k);
			rootcmd_again(k);
			break;
		case SIGCHLD:
			server_reap(k);
			break;
		}
	}
}

static void keeper_on_timer(struct keeper *k)
{
	uint64_t ticks, now = now_ns();

	if (k->watched_ns != 0 && now - k->watched_ns >= STILL_NS)
		server_excuse(k, now);
	k->watched_ns = now;
	if (k->watches++ % WATCHES == 0)
		log_debug("timer: watch over keys and servers, %llu until now",
			  (unsigned long long)k->watches);
	if (read(k->timer_fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
		custody_watch(k);
	log_say_dropped();
	if (k->ready_owed)
		k->ready_owed = notify_state("READY=1") == -EAGAIN;
	writes_tick(k, now_ns());
	sockets_watch(k, now_ns());
	if (!k->changing)
		rotation_tick(k, now_ns());
	server_watch(k, now_ns());
	if (!k->changing)
		cluster_tick(k, now_ns());
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
	POLL_ROOTCMD,
	POLL_NOTES,
	POLL_CLUSTER,
	POLL_CLIENT,
	POLL_LINK = POLL_CLIENT + ADMIN_CLIENTS,
	POLL_MAX = POLL_LINK + KEKD_WORKERS_MAX,
};

static void turn_clients(struct keeper *k, const struct pollfd p[static POLL_MAX], uint64_t turn)
{
	/* What poll(2) said is old when a call has waited for the disk in turns of its own. */
	for (size_t i = 0; i < ADMIN_CLIENTS && k->turns == turn; i++)
		if (p[POLL_CLIENT + i].revents)
			admin_serve(k, i);
	if (k->turns == turn && p[POLL_ADMIN].revents)
		admin_accept(k);
	if (!k->changing)
		admin_serve_waiting(k);
	admin_tick(k, now_ns());
}

/*
 * Who calls while kekd starts waits, as after a restart there is a root key in a moment, and he need not hear that
 * there is none. But not for ever: a command may take minutes, and then he is told.
 */
static int servers_start_if_due(struct keeper *k)
{
	if (k->n_workers > 0 || k->stopping || k->changing ||
	    (first_try_pends(k) && now_ns() - k->started_ns < HOLD_NS))
		return 0;
	return server_start(k);
}

int keeper_turn(struct keeper *k)
{
	struct pollfd p[POLL_MAX] = {
		[POLL_SIGNAL] = { .fd = k->signal_fd, .events = POLLIN },
		[POLL_TIMER] = { .fd = k->timer_fd, .events = POLLIN },
		[POLL_ADMIN] = { .fd = k->n_workers > 0 ? k->admin_fd : -1, .events = POLLIN },
		[POLL_ROOTCMD] = { .fd = rootcmd_poll_fd(k), .events = POLLIN },
		[POLL_NOTES] = { .fd = k->notes_fd, .events = POLLIN },
	};
	uint64_t turn = ++k->turns;

	/* What comes from etcd may have to wait for the disk itself. */
	p[POLL_CLUSTER].fd = -1;
	if (!k->changing)
		cluster_poll(k, p + POLL_CLUSTER);
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
	if (p[POLL_NOTES].revents)
		custody_told(k);
	if (p[POLL_ROOTCMD].revents && rootcmd_poll_fd(k) >= 0)
		rootcmd_hear(k);
	if (p[POLL_CLUSTER].revents && k->turns == turn)
		cluster_hear(k);
	turn_clients(k, p, turn);
	if (!k->changing) {
		server_reload_end(k);
		reload_if_wanted(k);
	}
	server_tick(k, now_ns());
	return servers_start_if_due(k);
}

static void unit_finding(void *ctx _unused_, bool problem, const char *text, const char *cure)
{
	if (problem)
		log_error("%s: %s", text, cure);
	else
		log_warning("%s: %s", text, cure);
}

int keeper_check(const struct keeper_options *opt)
{
	_cleanup_(conf_freep) struct conf *c = NULL;
	int r;

	if (conf_load(opt->config_path, &c) < 0)
		return EXIT_FAILURE;
	r = opt->unit ? units_check(c->config, "", unit_finding, NULL) : 0;
	if (r == -ENOENT)
		log_error(
			"there is no kekd.service in systemd's directories of units: install it, or "
			"leave --unit out");
	else if (r < 0)
		log_error("systemd's units: %s", errno_text(r));
	if (r != 0)
		return EXIT_FAILURE;
	printf("%s and %s: no errors\n", opt->config_path, c->config->encryption_config);
	return EXIT_SUCCESS;
}

int keeper_main(const struct keeper_options *opt)
{
	_cleanup_(keeper_freep) struct keeper *k = NULL;
	int r;

	if (keeper_new(opt, &k) < 0)
		return EXIT_FAILURE;
	if (conf_load(opt->config_path, &k->conf) < 0)
		return EXIT_FAILURE;
	if (sandbox_init() < 0 || acquire(k) < 0 || lockdown(k) < 0)
		return EXIT_FAILURE;
	if (k->store)
		key_store_set_write(k->store, writes_document, k);
	r = servers_start_if_due(k);
	while (r == 0 && !k->ended) {
		fdspare_fill(&k->spare, k->signal_fd);
		r = keeper_turn(k);
	}
	if (r < 0)
		log_error("keeper: %s", errno_text(r));
	return r < 0 ? EXIT_FAILURE : k->status;
}
