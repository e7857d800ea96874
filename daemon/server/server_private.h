/* SPDX-License-Identifier: Apache-2.0 */
/* The server's state, shared by server.c (its life) and messages.c (what the keeper says). */
#ifndef KEKD_SERVER_PRIVATE_H
#define KEKD_SERVER_PRIVATE_H

#include <sys/socket.h>

#include "daemon/chain/config.h"
#include "daemon/chain/defer.h"
#include "daemon/chain/encconf.h"
#include "daemon/chain/keytable.h"
#include "daemon/crypto/backend_holder.h"
#include "daemon/crypto/engine.h"
#include "daemon/kms/service.h"
#include "daemon/kms/transform.h"
#include "daemon/kms/upstream.h"
#include "daemon/server/link.h"
#include "daemon/sys/fdpass.h"
#include "daemon/sys/ring.h"
#include "daemon/wire/grpc.h"

/* With several servers: long enough for another to wait in front, too short for a client to notice. */
#define SERVER_ACCEPT_PAUSE_NS (UINT64_C(1) * 1000 * 1000)

/* One `resources` item: a chain, the services over it, the socket they are on. */
struct server_item {
	struct chain *chain;
	struct kms_service *kms;
	int listen_fd; /* -1 once wire has it */
};

/* transform_service.c; all zero without `transform:` in kekd.yaml. */
struct server_transform {
	int listen_fd; /* -1 once wire has it */
	struct grpc_limits limits;
	struct grpc_peers peers; /* points into the two arrays */
	uid_t peer_uids[LINK_PEERS];
	gid_t peer_gids[LINK_PEERS];
	uint64_t locked; /* bytes for its messages */
	struct secpool *pool;
	struct transform_service *service;
	struct grpc_server *grpc;
};

struct server {
	int link_fd;
	struct config *config;
	struct encconf *encconf;
	struct grpc_peers peers; /* points into the two arrays */
	uid_t peer_uids[LINK_PEERS];
	gid_t peer_gids[LINK_PEERS];

	struct ring *ring;
	struct secpool *pool;
	struct holder_client *holder; /* custody holder */
	struct engine *engine;
	struct keytable *keys;
	struct upstreams *upstreams;
	struct defer defer;
	struct grpc_server *grpc;
	size_t n_items;
	struct server_item *items;
	struct server_transform transform;

	struct engine_key *test_key;
	int selftest; /* 1: running; then 0 or -errno */

	struct metrics stats; /* since the last report */
	struct grpc_stats seen_wire, seen_transform;
	struct engine_stats seen_engine;
	uint64_t seen_log;
	/* audit_calls.c; NULL without `audit:` */
	struct audit *audit;
	char audit_key_id[sizeof(((struct op *)NULL)->key_id)], audit_hash[80];
	struct ring_op audit_timer;
	bool audit_said;
	struct server_probe *probe; /* probe.c */

	struct server_reload *reload; /* reload.c; NULL but between its two steps */
	struct link_msg rx;
	struct fdspare spare; /* for what the keeper passes, while clients have all others */
	struct ring_op link_op, used_timer, drain_timer;
	int link_error;
	/* tell.c */
	struct list unsent;
	size_t n_unsent;
	struct ring_op unsent_op;
	uint64_t heard_ns; /* when the keeper last said something */
	bool quiet;        /* for long, and it was said */
	bool going, stopping, aborted;
};

int server_new(int link_fd, struct server **ret);
void server_free(struct server *s);
DEFINE_CLEANUP(struct server *, server_free);

/* Take the keeper's messages until GO. */
int server_receive(struct server *s);
/* Once a second: ask again for op sockets that the keeper has not given. */
void server_sockets_ask(struct server *s);
/* Give the listeners to wire. */
int server_listen(struct server *s);
/* From now on the keeper's messages are taken in the loop. */
void server_link_listen(struct server *s);
/*
 * tell.c: say something to the keeper without waiting for it: at once, or as soon as the link takes it. An error
 * ends the server. _rest: what waits, as far as the link takes it, otherwise -EAGAIN. _used: how often keys were
 * used; -EAGAIN: not all of it, what is left is kept. _last: that is the last word; false if the keeper did not take it.
 */
int server_tell(struct server *s, const struct link_msg *msg);
int server_tell_rest(struct server *s);
int server_tell_used(struct server *s);
bool server_tell_last(struct server *s);
void server_unsent_free(struct server *s);
/* Has the keeper been heard lately? Says so when it stands still, and when it goes on. */
void server_keeper_watch(struct server *s, uint64_t now);
void server_stop(struct server *s);
/* messages.c, for reload.c too */
int server_configs_parse(struct link_fds *fds, struct config **ret_config,
			 struct encconf **ret_enc);
bool server_peers_valid(const struct link_msg *msg);
void server_peers_set(struct server *s, const struct link_msg *msg);
void server_chain_env(struct server *s, const struct config *config, struct chain_env *ret);
/*
 * reload.c. _prepare: build all of it and tell the keeper how that ended; errors are the link's. _end: into
 * force with @r 0, or away with it. _drop: away with it, if there is one. _refuse: it cannot be built.
 */
int reload_refuse(struct server *s, int r);
int reload_prepare(struct server *s, const struct link_msg *req, struct link_fds *fds);
int reload_end(struct server *s, int r);
void reload_drop(struct server *s);
/* transform_service.c. @fd consumed, whatever happens. */
int server_transform_open(struct server *s, const struct link_msg *msg, int fd);
int server_transform_listen(struct server *s);
/* The chains and their configuration have changed. */
void server_transform_reload(struct server *s);
/* Nothing is connected or under way. */
bool server_transform_idle(const struct server *s);
void server_transform_free(struct server *s);

/* probe.c: begin to try whether all chains encrypt and decrypt. */
int server_probe_start(struct server *s);
/*
 * audit_calls.c: from the configuration; its file, consumed; one operation, which is refused with the error;
 * and, before answers leave, all lines so far. False: they wait, and so must the answers.
 */
int server_audit_new(struct server *s);
int server_audit_take(struct server *s, int fd);
int server_audit_event(struct server *s, const struct kms_event *e);
bool server_audit_flush(struct server *s);
/* For both services: the audit, then the counters. */
int server_on_event(void *ctx, const struct kms_event *e);
/* stats.c: tell the keeper what was counted since the last time. */
void server_stats_report(struct server *s);

/* No operation of any service is in flight. */
bool server_idle(const struct server *s);

#endif
