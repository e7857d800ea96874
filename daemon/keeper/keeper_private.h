/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's state and its parts:
 *   keeper.c    its life: acquire, drop, serve; signals
 *   custody.c   root key, store, keys; the watch over them
 *   counts.c    how often they were used
 *   change.c    changes of the keyset, as the whole daemon makes them
 *   acks.c      what this node and others say of the keyset that they hold
 *   rotate.c    automatic rotation
 *   unseal.c    the root key from an operator's hand
 *   lockdown.c  what a running keeper gives up
 *   sockets.c   listeners: made here or passed by systemd; they outlive every server
 *   worker.c    a server process: started, fed, heard, replaced
 *   workers.c   all of them together, and in which order they hear of keys
 *   admin.c     what kekctl asks; admin_client.c: how it comes and goes
 *   import.c    keys from outside
 *   admin_keyset.c  its commands for the keyset as a whole
 *   admin_key.c its commands that take a key through its life
 *   observer.c  what monitoring reads
 *   audit_keys.c what is written down of keys and commands
 */
#ifndef KEKD_KEEPER_PRIVATE_H
#define KEKD_KEEPER_PRIVATE_H

#include <poll.h>

#include "daemon/ctl/admin.h"
#include "daemon/keeper/conf.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keys/keyset.h"
#include "daemon/server/link.h"
#include "daemon/sys/listener.h"

#define ADMIN_CLIENTS 8
#define KEEPER_ACKS   (KEYDOC_MEMBERS_MAX + 8) /* of members, and of nodes that want to join */

struct keeper_counts {
	uint8_t id[KEKD_KEY_ID];
	uint64_t encryptions, decryptions;
	uint64_t reserved; /* encryptions that the file grants */
	uint64_t
		wrote_ns; /* when a server last wrote with it, CLOCK_MONOTONIC; 0: not since the start */
	time_t last_used;
	time_t gave_way; /* to another key of its name, 0: not that we know of */
	bool active;     /* at the last counts_reserve() */
	bool written;    /* the file may have a line of it */
	bool complete;   /* counted since the key was made */
};

enum worker_reload { RELOAD_NONE, RELOAD_ASKED, RELOAD_TAKEN, RELOAD_REFUSED };

/* One server process. */
struct worker {
	pid_t pid;   /* 0: none */
	int link_fd; /* -1: none */
	bool serving;
	uint64_t start_ns, restart_at_ns, restart_delay_ns;
	uint64_t pinged_ns, answered_ns; /* PING and PONG; pinged 0: none is out */
	uint64_t probed_ns;              /* it last said that it can encrypt and decrypt, or not */
	uint32_t synced;                 /* the last SYNC that it has answered */
	enum worker_reload reload;       /* of next_conf */
	int reload_r;
	struct metrics stats; /* its last report: what is so now */
};

struct keeper {
	const struct keeper_options *opt;
	struct conf *conf, *next_conf; /* next: sent to the servers, not answered by all yet */
	bool reload_wanted;            /* SIGHUP came, and its turn has not */
	uint64_t reload_until_ns;      /* for answers to next_conf, once a server holds; or 0 */
	time_t started;
	uint64_t started_ns; /* CLOCK_MONOTONIC */

	/* custody.c */
	struct key_store *store;
	struct root_key *root;       /* backend kernel */
	struct soft_root *soft_root; /* backend openssl */
	struct keyset *keys;
	int sealed_why; /* as the servers were told: worker_sealed_why() */
	uint8_t session[KEYDOC_NODE], number[KEYDOC_NODE]; /* acks.c */
	uint32_t abort_asked; /* of the active key with this number: admin_key_abort() */
	size_t n_acks;
	struct keyack *acks[KEEPER_ACKS]; /* of other nodes */
	key_serial ring;                  /* backend kernel: what holds root and keys */
	int test_tfm; /* keyed with the self-test's public key; -1 without the kernel backend */
	int sealed;   /* 0, or why no key may be used: the root is gone */
	size_t n_counts;
	struct keeper_counts counts[KEKD_KEYS_MAX];
	uint64_t largest_report;
	bool counts_failed; /* and it was said */
	uint64_t rotate_at_ns;
	int rotate_r;                /* how the last try ended, which was said */
	uint8_t warned[KEKD_KEY_ID]; /* that this key is due */
	uint8_t made[KEKD_KEY_ID];   /* by automatic rotation, and not activated yet */

	/* sockets.c */
	int listen_fds[CONFIG_SOCKETS_MAX];
	struct listener_name listen_names[CONFIG_SOCKETS_MAX];
	bool listen_ours[CONFIG_SOCKETS_MAX];
	size_t n_listen;
	int admin_fd, transform_fd, metrics_fd;
	struct listener_name admin_name, transform_name, metrics_name;
	bool admin_ours, transform_ours, metrics_ours; /* a path that is to be removed */

	/* workers.c, worker.c */
	int exe_fd;
	size_t n_workers;
	struct worker workers[KEKD_WORKERS_MAX];
	bool ever_served; /* all of them, once */
	unsigned int starts;
	char ring_text[192];
	struct metrics metrics; /* what all servers so far have counted */
	uint32_t syncs;         /* asked */

	struct audit *audit; /* audit_keys.c; NULL without `audit:` */
	int audit_fd;        /* of the same, for the next server */
	uint64_t audit_retry_ns;

	struct observer *observer; /* observer.c; NULL without `metrics:` */

	/* admin.c */
	struct admin_client *clients[ADMIN_CLIENTS]; /* NULL: none */

	/* keeper.c */
	int signal_fd, timer_fd;
	bool stopping, ended;
	uint64_t stop_at_ns;
	uint64_t watches; /* over keys, root and servers */
	int status;
};

static inline bool keeper_is_kernel(const struct keeper *k)
{
	return k->conf->config->backend == CONFIG_BACKEND_KERNEL;
}

/* custody.c: each logs what went wrong and the cure. */
int custody_open(struct keeper *k);
void custody_close(struct keeper *k);
/* The keys of the root that there is, or of none, anew from the store. */
int custody_keys_open(struct keeper *k);
/* Backend kernel: a ring for the root and the keys, in the place of one that is dead. */
int custody_ring_new(struct keeper *k);
/* Look at every key and the root; tell the server of those that died. */
void custody_watch(struct keeper *k);
/*
 * The keys that the chains of @c write with: make what is missing where that is safe, and tell the
 * server; name what is missing where it is not.
 */
void custody_names_check(struct keeper *k, const struct conf *c);

/* counts.c */
void counts_load(struct keeper *k);
/*
 * Durable room for what the active keys may do until the next look, and a note of those that are active no
 * more. Whenever states have changed, before a server hears of it.
 */
void counts_reserve(struct keeper *k);
/* What the server has reported. */
void counts_add(struct keeper *k, const struct link_msg *used);
/* A server ended without its last report. */
void counts_server_died(struct keeper *k);
/* No server runs any more: the exact numbers. */
void counts_end(struct keeper *k);
/* A key has just been made: all use of it will be counted. */
void counts_made(struct keeper *k, const struct keyset_key *key);
/* A key may be in use, whatever the servers have reported. */
void counts_touch(struct keeper *k, const struct keyset_key *key);
/* Never NULL; static zeros for a key without. */
const struct keeper_counts *counts_of(const struct keeper *k, const uint8_t id[static KEKD_KEY_ID]);
/*
 * When the key was last used, 0 for never. Of what was before this keeper started it knows nothing,
 * so a key that it has not made counts as used until then.
 */
time_t counts_last_used(const struct keeper *k, const struct key_record *rec);
/* Until when, at the latest, a kube-apiserver may write with a seed that a key which has given way wrapped. */
time_t counts_written_until(const struct keeper *k, const struct key_record *rec);

/*
 * change.c: make a change and tell the servers of it. Refusals as keyset_change() and keydoc_next(), with
 * words in *why; -EKEYEXPIRED: sealed. keeper_make(): stage a key, or take up the one that is staged, and
 * activate it; if only that is refused, *ret is the staged key.
 */
int keeper_change(struct keeper *k, struct keydoc_change *change, struct keydoc_refusal *why);
/* The same, and nothing is done: the document as it would be. Caller frees. */
int keeper_plan(struct keeper *k, struct keydoc_change *change, struct keydoc_refusal *why,
		struct keydoc **ret);
/* Can there be a change at all? Begins a keyset where the machine has none. */
int keeper_ready(struct keeper *k, struct keydoc_refusal *why);
int keeper_step(struct keeper *k, enum keydoc_change_kind kind,
		const uint8_t id[static KEKD_KEY_ID], struct keydoc_refusal *why);
int keeper_stage(struct keeper *k, const char *name, struct keydoc_refusal *why,
		 const struct keyset_key **ret);
int keeper_import(struct keeper *k, const struct key_record *want, struct span bytes,
		  struct keydoc_refusal *why, const struct keyset_key **ret);
int keeper_make(struct keeper *k, const char *name, struct keydoc_refusal *why,
		const struct keyset_key **ret);
/* A document that may be taken; consumed on success. _followed: what comes after any document. */
int keeper_take(struct keeper *k, struct keydoc *doc, struct keydoc_refusal *why);
void keeper_followed(struct keeper *k);

/* acks.c. _own: caller frees. _take: @ack is consumed. _find: borrowed, NULL if none was heard. */
int acks_open(struct keeper *k);
void acks_close(struct keeper *k);
int acks_new_document(struct keeper *k);
int acks_own(const struct keeper *k, struct keyack **ret);
int acks_take(struct keeper *k, struct keyack *ack);
const struct keyack *acks_find(const struct keeper *k, const uint8_t node[static KEYDOC_NODE]);

/* rotate.c */
/* Time passes: rotate what is due, or say that it is. */
void rotation_tick(struct keeper *k, uint64_t now);

/* rootcmd.c: run the configured command and read a secret from its standard output. */
struct secret;
int root_command_run(char *const *argv, int64_t timeout_ns, struct secret *ret);

/*
 * import.c: take the key of @blob, a struct admin_import in locked memory, in under @name and stage it.
 * Refusals of keyset_import(), -EALREADY with *ret among them.
 */
int import_take(struct keeper *k, const char *name, struct span blob, struct keydoc_refusal *why,
		const struct keyset_key **ret);

/*
 * unseal.c: the root key is @secret, borrowed, in locked memory. -EALREADY: not sealed. -EOPNOTSUPP: an
 * ephemeral root cannot come back. -EINVAL: too short or too long. -EKEYREJECTED: it opens no key of the
 * store. Errors of making a root.
 */
int custody_unseal(struct keeper *k, struct span secret);

/*
 * audit_keys.c. _feed: a new server needs it. _command: before it is tried; an error means that it must not be,
 * since no line tells of it. _key: @peer NULL when nobody asked, @key NULL when it is about all of them.
 */
int keeper_audit_open(struct keeper *k);
void keeper_audit_close(struct keeper *k);
void keeper_audit_feed(struct keeper *k, struct worker *w);
void keeper_audit_reload(struct keeper *k);
void keeper_audit_tick(struct keeper *k, uint64_t now);
int keeper_audit_command(struct keeper *k, const struct op_peer *peer, const char *what,
			 const char *key);
void keeper_audit_key(struct keeper *k, const struct op_peer *peer, const struct keyset_key *key,
		      const char *what);

/*
 * observer.c: make the page and find the program; then, as time passes, write and start. observer_exe():
 * its file, or -1.
 */
int observer_open(struct keeper *k);
void observer_close(struct keeper *k);
int observer_exe(const struct keeper *k);
void observer_tick(struct keeper *k, uint64_t now);
void observer_reaped(struct keeper *k, pid_t pid);

/* lockdown.c: after everything is acquired, before the first server. Logs what failed. */
int lockdown(struct keeper *k);
/* For a root key that came later: nobody reads it from here. */
int lockdown_root(const struct keeper *k);

/* sockets.c */
int sockets_open(struct keeper *k);
void sockets_close(struct keeper *k);

/* worker.c: one server process. Sending to one that has no link does nothing. */
int worker_start(struct keeper *k, struct worker *w);
void worker_kill(struct keeper *k, struct worker *w);
/* Send, or give the worker up: what it has not heard it must not go on without. @fds borrowed. */
int worker_tell(struct keeper *k, struct worker *w, const struct link_msg *msg,
		const struct link_fds *fds);
int worker_send_conf(struct keeper *k, struct worker *w, const struct conf *c);
/* What a worker is to know of @key: a usable key whose claim to be active fails only opens. */
enum key_state worker_key_state(const struct keeper *k, const struct keyset_key *key);
/* The key and what makes it usable, as if it were in @state. */
void worker_send_key(struct keeper *k, struct worker *w, const struct keyset_key *key,
		     enum key_state state);
void worker_send_state(struct keeper *k, struct worker *w, const struct keyset_key *key);
void worker_send_withdraw(struct keeper *k, struct worker *w, const struct keyset_key *key,
			  int why);
/* Why servers do not write, as clients are told; 0: they may. */
int worker_sealed_why(const struct keeper *k);
void worker_send_sealed(struct keeper *k, struct worker *w);
/* The link is readable. */
void worker_hear(struct keeper *k, struct worker *w);
void worker_reaped(struct keeper *k, struct worker *w, int status);
void worker_tick(struct keeper *k, struct worker *w, uint64_t now);
void worker_watch(struct keeper *k, struct worker *w, uint64_t now);

/* workers.c: all of them */
int server_start(struct keeper *k);
/* How many said READY and live. */
size_t server_serving(const struct keeper *k);
/* There is one, and none that serves stands still. */
bool server_answers(const struct keeper *k, uint64_t now);
/* When the one that has tried its keys longest ago has done so; 0: nobody serves. */
uint64_t server_probed_ns(const struct keeper *k);
/* All that was counted, and what is so now. */
void server_metrics(const struct keeper *k, struct metrics *ret);
/*
 * A key that is new to the servers, or back. If it is active, none of them writes with it before all have
 * it; for that moment nothing is written under its name.
 */
void server_send_key(struct keeper *k, const struct keyset_key *key);
/* State and activation only, of a key that all have; they go on with the op sockets that they have. */
void server_send_state(struct keeper *k, const struct keyset_key *key);
/* Whether the root key is there. */
void server_send_sealed(struct keeper *k);
void server_send_withdraw(struct keeper *k, const struct keyset_key *key, int why);
/*
 * Return when no server serves without what was sent until now: it has taken it, or it is gone, and
 * the next one is given all of it before it serves. One that does not answer is killed. Before
 * anybody is told that a key is there: another node may write with it the moment after.
 */
void server_sync(struct keeper *k);
/* Children have ended. */
void server_reap(struct keeper *k);
/* Time passes: start again what is due. */
void server_tick(struct keeper *k, uint64_t now);
/* Until then, for poll(2). */
int server_wait_ms(const struct keeper *k, uint64_t now);
/* Are they alive? Kills one that has stopped answering; tells systemd's watchdog of one that does. */
void server_watch(struct keeper *k, uint64_t now);
void server_kill(struct keeper *k);
void server_ask_stop(struct keeper *k);
/* Send next_conf. False: there is nobody to take it, and the reload stays wanted. */
bool server_reload_start(struct keeper *k);
/*
 * When all have answered to that, the new configuration is in force if all can take it. Those who can hold
 * until they hear of it, so there is a bound for the others. The loop alone
 * acts on it: answers may be heard, from a server that lies at any time, by server_sync() in the middle
 * of something that goes by the old configuration.
 */
void server_reload_end(struct keeper *k);

/* admin_key.c: one verb each; 0, or -errno when the client is to be dropped */
int admin_key_create(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_import(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_stage(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_activate(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_retire(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_reopen(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_destroy(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_unseal(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_reload(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_abort(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_verify(struct keeper *k, struct admin_client *c, const struct admin_request *req);

/* One line for each change: what, and who asked. */
void admin_audit(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		 const char *what);

int admin_refuse(struct admin_client *c, const struct keydoc_refusal *why);

/* For keyset_verify() and keyset_verify_doc(), with a struct admin_verify. */
struct admin_verify {
	struct keeper *k;
	struct admin_client *c;
	int r;
	unsigned int bad;
};
void admin_verify_put(void *ctx, const struct key_record *rec, int r);

/* admin_keyset.c */
int admin_keyset_show(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_keyset_export(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_keyset_apply(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_keyset_ack(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_keyset_take(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_keyset_merge(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_keyset_remove(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_backup_verify(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_restore(struct keeper *k, struct admin_client *c, const struct admin_request *req);

/* admin.c */
/* The last message of an answer. */
int admin_end(struct admin_client *c, int result, const char *text);
/* The only other one, and an END that says 0. */
int admin_end_with(struct admin_client *c, enum admin_reply_type type, const void *data,
		   size_t len);
void admin_key_fill(const struct keeper *k, const struct keyset_key *key, struct admin_key *ret);
int admin_send_key(struct admin_client *c, const struct admin_key *key);
void admin_accept(struct keeper *k);
/* @fd, consumed, is a client from now on if its peer may be one. */
void admin_add(struct keeper *k, int fd);
/* What to poll the clients for; fd -1: there is none. */
void admin_poll(const struct keeper *k, struct pollfd ret[static ADMIN_CLIENTS]);
/* Something of that is so. */
void admin_serve(struct keeper *k, size_t client);
/* Time passes: who takes too long is dropped. */
void admin_tick(struct keeper *k, uint64_t now);
void admin_close(struct keeper *k);

#endif
