/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's state and its parts:
 *   keeper.c    its life: acquire, drop, serve; signals
 *   custody.c   root key, store, keys; the watch over them
 *   rootcmd.c   the command that prints the root key, run until it does
 *   counts.c    how often they were used
 *   writes.c    what goes to the disk while all this turns
 *   escrow.c    when the shares of the root key were tested
 *   change.c    changes of the keyset, as the whole daemon makes them
 *   acks.c      what this node and others say of the keyset that they hold
 *   rotate.c    automatic rotation
 *   unseal.c    a root key that comes, by hand or from the command: proven, and taken
 *   lockdown.c  what a running keeper gives up
 *   sockets.c   listeners: made here or passed by systemd; they outlive every server
 *   worker.c    a server process: started, fed, heard, replaced
 *   holders.c   the holder beside each server: its keys, and another when it ends
 *   workers.c   all of them together, and in which order they hear of keys
 *   admin.c     what kekctl asks; admin_client.c: how it comes and goes
 *   import.c    keys from outside
 *   admin_keyset.c  its commands for the keyset as a whole
 *   cluster.c   the keyset in etcd, by kekd-cluster; cluster_judge.c: what etcd has
 *   admin_cluster.c its commands for that
 *   admin_key.c its commands that take a key through its life
 *   observer.c  what monitoring reads
 *   audit_keys.c what is written down of keys and commands
 */
#ifndef KEKD_KEEPER_PRIVATE_H
#define KEKD_KEEPER_PRIVATE_H

#include <poll.h>

#include "daemon/ctl/admin.h"
#include "daemon/keeper/conf.h"
#include "daemon/keeper/holder.h"
#include "daemon/keeper/restart.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keys/keyset.h"
#include "daemon/obs/board.h"
#include "daemon/server/link.h"
#include "daemon/sys/fdpass.h"
#include "daemon/sys/listener.h"

#define ADMIN_CLIENTS 8
#define SEALED_TEXT   224                      /* with NUL */
#define KEEPER_ACKS   (KEYDOC_MEMBERS_MAX + 8) /* of members, and of nodes that want to join */

struct keeper_counts {
	uint8_t id[KEKD_KEY_ID];
	uint64_t encryptions, decryptions;
	uint64_t
		reserved; /* encryptions that the file is to grant; while it is written, asked; then granted */
	uint64_t asked, granted;
	uint64_t
		wrote_ns; /* when a server last wrote with it, CLOCK_MONOTONIC; 0: not since the start */
	/* Since this keeper started, ns by CLOCK_BOOTTIME; 0: it has not. */
	int64_t used_at, made_at, retired_at;
	bool spent;    /* and that was said */
	bool active;   /* at the last counts_reserve() */
	bool written;  /* the file may have a line of it */
	bool complete; /* counted since the key was made */
};

enum worker_reload { RELOAD_NONE, RELOAD_ASKED, RELOAD_TAKEN, RELOAD_REFUSED };

/* One server process. */
struct worker {
	pid_t pid;   /* 0: none */
	int link_fd; /* -1: none */
	bool serving;
	struct restart restart;
	uint64_t pinged_ns, answered_ns; /* PING and PONG; pinged 0: none is out */
	uint64_t probed_ns;              /* it last said that it can encrypt and decrypt, or not */
	uint32_t synced;                 /* the last SYNC that it has answered */
	struct holder_process *holder;   /* custody holder: its own; NULL: none now */
	struct restart holder_restart;
	enum worker_reload reload; /* of next_conf */
	int reload_r;
	struct metrics stats; /* its last report: what is so now */
};

/* A write to the key store, by a child. */
struct keeper_write {
	pid_t pid; /* 0: none */
	const char *file;
	uint64_t since_ns;
	bool said; /* that it takes long */
	int r;     /* how the last ended */
};

struct keeper {
	const struct keeper_options *opt;
	struct fdspare spare; /* for what servers are given, while everything else is used up */
	struct conf *conf, *next_conf; /* next: sent to the servers, not answered by all yet */
	bool reload_wanted;            /* SIGHUP came, and its turn has not */
	uint32_t reloads;              /* that have ended */
	bool reload_refused;           /* the last of them */
	uint64_t reload_until_ns;      /* for answers to next_conf, once a server holds; or 0 */
	time_t started;                /* for people */
	uint64_t started_ns;           /* CLOCK_MONOTONIC */
	int64_t started_at;            /* CLOCK_BOOTTIME, ns */

	/* custody.c */
	struct key_store *store;
	struct maker *maker; /* custody serial, as is the ring */
	struct root_key *root;
	struct root_key *second; /* root.c: beside that, while it is rotated */
	struct keyset *keys;
	int sealed_why; /* as the servers were told: worker_sealed_why() */
	uint8_t session[KEYDOC_NODE], number[KEYDOC_NODE], former_number[KEYDOC_NODE]; /* acks.c */
	uint32_t abort_asked; /* of the active key with this number: admin_key_abort() */
	size_t n_acks;
	struct keyack *acks[KEEPER_ACKS]; /* of other nodes */
	key_serial ring;                  /* what holds root and keys; 0: nothing is in a keyring */
	int notes_fd, notes_end;          /* sys/keyring.h; -1: the kernel does not tell */
	key_serial root_watched;
	int test_tfm;         /* keyed with the self-test's public key; -1 with custody holder */
	int sealed;           /* 0, or why no key may be used: the root is gone */
	time_t escrow_tested; /* escrow.c; 0: not known */
	char sealed_text[SEALED_TEXT]; /* why, for people: "COMMAND: reason" */
	size_t n_counts;
	struct keeper_counts counts[KEKD_KEYS_MAX];
	uint64_t largest_report;
	bool counts_failed; /* and it was said */
	uint8_t counts_roots[KEYDOC_ROOTS]
			    [KEY_ROOT_ID]; /* that the file is under the MAC of; zeros: none */
	bool counts_due;                   /* the file does not have what it should */
	uint64_t counts_at_ns;
	uint64_t rotate_at_ns;
	int rotate_r;              /* how the last try ended, which was said */
	unsigned int rotate_waits; /* tries in a row that others hold up */
	char rotating
		[KEKD_LABEL_MAX]; /* the name of a key whose change is on its way to etcd; or "" */
	uint8_t warned[KEKD_KEY_ID]; /* that this key is due */
	uint8_t ahead[KEKD_KEY_ID];  /* that this key was made in the future */

	/* writes.c */
	struct keeper_write write;
	bool writes_aside; /* by children: somebody hears when they end */
	bool changing;     /* the keyset, by a call that waits for the disk in turns of the loop */
	/* rootcmd.c */
	pid_t rootcmd_pid; /* of the runner; 0: none */
	int rootcmd_fd;    /* to it, while there is one; else -1 */
	bool rootcmd_tried;

	/* sockets.c */
	int listen_fds[CONFIG_SOCKETS_MAX];
	struct listener_name listen_names[CONFIG_SOCKETS_MAX];
	bool listen_ours[CONFIG_SOCKETS_MAX];
	size_t n_listen;
	int admin_fd, transform_fd, metrics_fd;
	struct listener_name admin_name, transform_name, metrics_name;
	bool admin_ours, transform_ours, metrics_ours; /* a path that is to be removed */
	bool sockets_lost[CONFIG_SOCKETS_MAX + 3];     /* their files; in the order of places() */
	uint64_t sockets_renew_ns[CONFIG_SOCKETS_MAX + 3], sockets_at_ns;

	/* workers.c, worker.c */
	int exe_fd;
	size_t n_workers;
	struct worker workers[KEKD_WORKERS_MAX];
	bool ever_served; /* all of them, once */
	bool ready;       /* and that was said: keeper_say_ready() */
	unsigned int starts;
	char ring_text[192];
	struct metrics metrics; /* what all servers so far have counted */
	uint32_t syncs;         /* asked */

	struct audit *audit; /* audit_keys.c; NULL without `audit:` */
	int audit_fd;        /* of the same, for the next server */
	uint64_t audit_retry_ns;

	struct cluster *cluster; /* cluster.c; NULL without `cluster:` */
	bool confirmed;          /* etcd's document was read since the start */

	struct observer *observer; /* observer.c; NULL without `metrics:` */

	/* admin.c */
	struct admin_client *clients[ADMIN_CLIENTS]; /* NULL: none */
	struct admin_client *parked; /* waits for a change that it has asked for; or NULL */
	bool resumed;                /* its request runs once more, with what became of that */

	/* keeper.c */
	int signal_fd, timer_fd;
	bool stopping, ended;
	uint64_t stop_at_ns;
	uint64_t watches; /* over keys, root and servers */
	uint64_t watched_ns;
	uint64_t turns;
	bool ready_owed; /* the service manager has not taken it */
	int status;
};

/* Who has the bytes of a key, as the configuration says it. Static. */
const char *keeper_custody(const struct keeper *k);

/* What AES runs on: "kernel" or "holder". Static. */
const char *keeper_backend(const struct keeper *k);

static inline bool keeper_is_holder(const struct keeper *k)
{
	return k->conf->config->custody == CONFIG_CUSTODY_HOLDER;
}

/* custody.c: each logs what went wrong and the cure. */
/* Make @secret (borrowed, locked memory) the root, as the custody asks for. */
int custody_root_new(struct keeper *k, struct span secret);
/* The same, as a second root beside that; _trusted: of what the TPM has sealed. */
int custody_second_new(struct keeper *k, struct span secret, struct root_key **ret);
int custody_second_trusted(struct keeper *k, struct span sealed, struct root_key **ret);
/* Words for @r of these, or "". */
const char *custody_root_cure(const struct keeper *k, bool is_trusted, int r);
/* root.c: after a document was taken, which may have ended the rotation of the root. */
void root_followed(struct keeper *k);
/* Fingerprints, or "": of the second root that is here; of those that the keyset is being rotated from and to. */
void root_second_id(const struct keeper *k, char ret[static 2 * KEY_ROOT_ID + 1]);
void root_rotation_ids(const struct keeper *k, char ret_from[static 2 * KEY_ROOT_ID + 1],
		       char ret_to[static 2 * KEY_ROOT_ID + 1]);
int custody_open(struct keeper *k);
void custody_close(struct keeper *k);
/* The keys of the root that there is, or of none, anew from the store. */
int custody_keys_open(struct keeper *k);
/*
 * May it be written with what the disk has? Where etcd carries the keyset not before that was read once: this disk may be
 * an earlier one, and others may have retired what it would write with.
 */
bool custody_is_confirmed(const struct keeper *k);
/* The kernel has told of a key: custody_watch(), if it was so. */
void custody_told(struct keeper *k);
/* Look at every key and the root; tell the server of those that died. */
void custody_watch(struct keeper *k);
/*
 * The keys that the chains of @c write with: make what is missing where that is safe, and tell the
 * server; name what is missing where it is not.
 */
void custody_names_check(struct keeper *k, const struct conf *c);

/* escrow.c: what the key store says of it under the root that there is. */
void escrow_load(struct keeper *k);

/* counts.c */
void counts_load(struct keeper *k);
/*
 * The keys of @doc, a backup, have encrypted at least what @ack says. Returns when that is on disk; the document comes
 * after it.
 */
int counts_bring(struct keeper *k, const struct keydoc *doc, const struct keyack *ack);
/*
 * Durable room for what the active keys may do until the next look, and a note of those that are active no
 * more. Whenever states have changed, before a server hears of it.
 */
void counts_reserve(struct keeper *k);
/* In @ack, its own, this node of before its start says how much it was granted: no count is lower. */
void counts_said(struct keeper *k, const struct keyack *ack);
/* How the write of the file has ended; and as time passes, what could not be written until now. */
void counts_written(struct keeper *k, int r);
void counts_tick(struct keeper *k, uint64_t now);
/* More was encrypted with a key that is active than the file grants. */
bool counts_behind(const struct keeper *k);
/*
 * Has this node encrypted as much under that key as it may (KEKD_KEY_MESSAGES), with what its servers may have done since
 * they last reported; or have members that are gone left too little of KEKD_KEY_LIMIT? The servers are told when that
 * comes.
 */
bool counts_spent(const struct keeper *k, const struct key_record *rec);
/* What the server has reported. */
void counts_add(struct keeper *k, const struct link_msg *used);
/* A server ended without its last report. */
void counts_server_died(struct keeper *k);
/* No server runs any more: the exact numbers. */
void counts_end(struct keeper *k);
/* A key has just been made: all use of it will be counted. */
void counts_made(struct keeper *k, const struct keyset_key *key);
/* Never NULL; static zeros for a key without. */
const struct keeper_counts *counts_of(const struct keeper *k, const uint8_t id[static KEKD_KEY_ID]);
/*
 * When the key was used last, by the clock as it is set now; 0: never. Of what was before this keeper started it knows
 * nothing, so a key that it has not made counts as used until then.
 */
time_t counts_last_used(const struct keeper *k, const struct key_record *rec);
/*
 * How old the key is, in seconds. If this keeper has not made it, by the clock and what the keyset says; made in
 * what is the future here, it counts as made when this keeper started.
 */
int64_t counts_age(const struct keeper *k, const struct key_record *rec);
bool counts_is_ahead(const struct keeper *k, const struct key_record *rec);
/* It has been retired here, by a change. */
void counts_retired(struct keeper *k, const struct keyset_key *key);

/*
 * writes.c. _start: the child is under way. _busy, _stalled: it is, and for long. _document: the key store's, returns
 * when it is durable. _wait: without the loop; false if it has not ended within @ns.
 */
int writes_start(struct keeper *k, const char *file, const char *text, size_t len);
bool writes_busy(const struct keeper *k);
bool writes_stalled(const struct keeper *k, uint64_t now);
int writes_document(void *ctx, const char *file, const char *text, size_t len);
bool writes_wait(struct keeper *k, uint64_t ns);
/* A child has ended; time passes. */
void writes_reaped(struct keeper *k, pid_t pid, int status);
void writes_tick(struct keeper *k, uint64_t now);

/* keeper.c: one turn of the loop; while a change waits for the disk, without what it excludes. */
int keeper_turn(struct keeper *k);

/*
 * change.c: make a change and tell the servers of it. Refusals as keyset_change() and keydoc_next(), with
 * words in *why; -EKEYEXPIRED: sealed. keeper_make(): stage a key, or take up the one that is staged, and
 * activate it; if only that is refused, *ret is the staged key. *ret_made (or NULL) becomes true where it was staged
 * by this call, or by a change that this call hears the outcome of. _portable: as keyset_stage_portable(), before
 * the key is taken up; -EPERM by policy.
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
int keeper_stage_portable(struct keeper *k, const char *name, struct keydoc_refusal *why,
			  const struct keyset_key **ret);
int keeper_import(struct keeper *k, const struct key_record *want, struct span bytes,
		  struct keydoc_refusal *why, const struct keyset_key **ret);
int keeper_make(struct keeper *k, const char *name, struct keydoc_refusal *why,
		const struct keyset_key **ret, bool *ret_made);
/* A document that may be taken; consumed on success. */
int keeper_take(struct keeper *k, struct keydoc *doc, struct keydoc_refusal *why);

/*
 * The same where etcd has to have it first: -EINPROGRESS then, and it was consumed. For what is no step of
 * keydoc_next(), a merge.
 */
int keeper_publish(struct keeper *k, struct keydoc **doc, struct keydoc_refusal *why);
/* Whether this node may write, told to the servers if it is another than they know. */
void keeper_membership(struct keeper *k);

/*
 * cluster.c. _open: before lockdown(). _offer: for keyset_carry(). _outcome: is this the change that who asks now has
 * waited for? Then *why says what became of it; its key is _outcome_key(), as it was before. _publish: keeper_publish() by etcd.
 * _hurry: somebody waits.
 */
int cluster_open(struct keeper *k);
void cluster_close(struct keeper *k);
keyset_offer_fn cluster_offer;
bool cluster_outcome(struct keeper *k, enum keydoc_change_kind kind, const uint8_t *id,
		     struct keydoc_refusal *why);
const struct key_record *cluster_outcome_key(const struct keeper *k);
enum keydoc_change_kind cluster_outcome_kind(const struct keeper *k);
int cluster_publish(struct keeper *k, struct keydoc **doc, struct keydoc_refusal *why);
void cluster_hurry(struct keeper *k);
/* Where in etcd the document is that this node holds: its mod_revision and etcd's cluster_id. Untouched if it was not seen. */
void cluster_place(const struct keeper *k, uint64_t *ret_revision, uint64_t *ret_etcd);
/* When a node was last heard to answer, CLOCK_MONOTONIC, 0: never; and is that too long ago? */
uint64_t cluster_heard_ns(const struct keeper *k, const uint8_t node[static KEYDOC_NODE]);
bool cluster_is_mute(const struct keeper *k, const uint8_t node[static KEYDOC_NODE], uint64_t now);
void cluster_poll(const struct keeper *k, struct pollfd *ret);
void cluster_hear(struct keeper *k);
void cluster_tick(struct keeper *k, uint64_t now);

/*
 * acks.c. _own: caller frees. _sum: to what it says of this node's uses come those of the members that were heard.
 * _take: @ack is consumed. _find: borrowed, NULL if none was heard.
 */
int acks_open(struct keeper *k);
void acks_close(struct keeper *k);
int acks_new_document(struct keeper *k);
/* Another number for the same document, to see who is still there. */
int acks_draw(struct keeper *k);
/* To this number or to the one before it, since this node took the document. */
bool acks_has_answered(const struct keeper *k, const struct keyack *ack);
int acks_own(const struct keeper *k, struct keyack **ret);
void acks_sum(const struct keeper *k, struct keyack *ack);
int acks_take(struct keeper *k, struct keyack *ack);
const struct keyack *acks_find(const struct keeper *k, const uint8_t node[static KEYDOC_NODE]);

/*
 * rotate.c. _limit: how many messages this node encrypts with a key before it is due for rotation; in a cluster its share
 * of rotation.maxEncryptions. _tick: time passes, rotate what is due, or say that it is. _resume: a change that it had
 * sent to etcd has come to its end.
 */
uint64_t rotation_limit(const struct keeper *k);
void rotation_tick(struct keeper *k, uint64_t now);
void rotation_resume(struct keeper *k);

/*
 * rootcmd.c: the runner, started while nothing has been given up. _poll_fd: -1: nothing is wanted from it now.
 * _hear: that is readable. _again: have the command run at once; false: there is no runner. _end: no root key is
 * wanted any more.
 */
int rootcmd_start(struct keeper *k);
int rootcmd_poll_fd(const struct keeper *k);
void rootcmd_hear(struct keeper *k);
bool rootcmd_again(struct keeper *k);
void rootcmd_end(struct keeper *k);
void rootcmd_reaped(struct keeper *k, pid_t pid, int status);

/*
 * import.c: take the key of @blob, a struct admin_import in locked memory, in under @name and stage it.
 * Refusals of keyset_import(), -EALREADY with *ret among them.
 */
int import_take(struct keeper *k, const char *name, struct span blob, struct keydoc_refusal *why,
		const struct keyset_key **ret);

/*
 * unseal.c: the root key is @secret, borrowed, in locked memory. A root key that is not that of the store's
 * keyset is refused, and the refusal names both. On a machine without a keyset the one from the command is taken
 * as the configuration says so, and one from a hand only if @proof shows that it is meant.
 *
 * custody_unseal(): -EALREADY: not sealed. -EOPNOTSUPP: an ephemeral root cannot come back. -EINVAL: too short
 * or too long. -EKEYREJECTED: refused. -ENODATA: nothing shows that it is the right one. Errors of making a
 * root. All but the first two with words in *why.
 */
struct unseal_proof {
	const uint8_t *id; /* the fingerprint that it must have, or NULL */
	bool is_new;       /* it is the first root key of this machine */
};
int custody_unseal(struct keeper *k, struct span secret, const struct unseal_proof *proof,
		   struct keydoc_refusal *why);
int custody_from_command(struct keeper *k, struct span secret);
/* There is no root key, for this reason: whoever asks is told, and the log once. */
void custody_sealed(struct keeper *k, const char *fmt, ...) _printf_(2, 3);
/* Fingerprint of the root key in hex; "": there is none. */
void custody_root_id(const struct keeper *k, char ret[static 2 * KEY_ROOT_ID + 1]);

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
/* The same of the root key; @r: 0, or why not. */
void keeper_audit_root(struct keeper *k, const struct op_peer *peer, const char *what, int r);

/*
 * observer.c: make the page and find the program; then, as time passes, write and start. observer_exe():
 * its file, or -1.
 */
int observer_open(struct keeper *k);
/* What it tells, and `kekctl status` too. */
void keeper_health(const struct keeper *k, uint64_t now, struct board_health *ret);
void observer_close(struct keeper *k);
int observer_exe(const struct keeper *k);
/* It is to have the descriptors that there are now. */
void observer_renew(struct keeper *k);
void observer_tick(struct keeper *k, uint64_t now);
void observer_reaped(struct keeper *k, pid_t pid);

/* keeper.c: tell the service manager, once, if the servers serve and the first try for a root key is over. */
void keeper_say_ready(struct keeper *k);

/*
 * holders.c; nothing of it without `custody: holder`. _start: for a server that is to be started. _feed: the server has
 * it. _take, _drop: a key, by the one of @w. _reaped, _tick: one that has ended is
 * replaced, when that is due (UINT64_MAX: it is not). _watch: one that stands still ends; _excuse: the keeper itself
 * stood still. _end: with its server.
 */
int holders_start(struct keeper *k, struct worker *w);
int holders_feed(struct keeper *k, struct worker *w);
int holders_take(struct keeper *k, struct worker *w, const struct keyset_key *key);
void holders_drop(struct worker *w, const struct keyset_key *key);
void holders_end(struct worker *w);
void holders_reaped(struct keeper *k, pid_t pid, int status);
uint64_t holders_due(const struct keeper *k, const struct worker *w);
void holders_watch(struct worker *w, uint64_t now);
void holders_excuse(struct worker *w, uint64_t now);
void holders_tick(struct keeper *k, struct worker *w, uint64_t now);

/* lockdown.c: after everything is acquired, before the first server. Logs what failed. */
int lockdown(struct keeper *k);

/* sockets.c */
int sockets_open(struct keeper *k);
void sockets_close(struct keeper *k);
/* Are their files there? As time passes; without waiting for the time; how many are not. */
void sockets_watch(struct keeper *k, uint64_t now);
void sockets_look_again(struct keeper *k);
uint32_t sockets_lost(const struct keeper *k);

/* worker.c: one server process. Sending to one that has no link does nothing. */
int worker_start(struct keeper *k, struct worker *w);
void worker_kill(struct keeper *k, struct worker *w);
/* Send, or give the worker up: what it has not heard it must not go on without. @fds borrowed. */
int worker_tell(struct keeper *k, struct worker *w, const struct link_msg *msg,
		const struct link_fds *fds);
int worker_send_conf(struct keeper *k, struct worker *w, const struct conf *c);
int worker_send_listener(struct keeper *k, struct worker *w, uint32_t index, int fd);
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
/* A listener in the place of one whose file is gone. @fd borrowed. */
void server_send_listener(struct keeper *k, uint32_t index, int fd);
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
/* The keeper has stood still: what it was owed meanwhile may wait in the links. */
void server_excuse(struct keeper *k, uint64_t now);
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
/* keeper.c: so it has ended. */
void keeper_reloaded(struct keeper *k, int r);

/* admin_key.c: one verb each; 0, or -errno when the client is to be dropped */
int admin_key_create(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_import(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_stage(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_activate(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_retire(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_mark(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_marked(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_reopen(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_destroy(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_unseal(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_reload(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_abort(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_key_verify(struct keeper *k, struct admin_client *c, const struct admin_request *req);

/*
 * The answer to a change that was refused. -EINPROGRESS, and no answer: the change is on its way to etcd, and the
 * request runs once more when it is there (admin_resume()). A change that waits for members is answered -EINPROGRESS
 * with who it is, and kekctl asks again.
 */
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
void admin_member_fill(const struct keeper *k, const struct keydoc_member *m,
		       struct admin_member *ret);

/* admin_cluster.c */
int admin_cluster_status(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_cluster_create(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_cluster_join(struct keeper *k, struct admin_client *c, const struct admin_request *req);
/* What monitoring is told of it. */
struct board_cluster;
void cluster_board(const struct keeper *k, uint64_t now, struct board_cluster *ret);
int admin_cluster_serve(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_backup_verify(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_restore(struct keeper *k, struct admin_client *c, const struct admin_request *req);

/* escrow.c */
int admin_root_verify(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_root_next(struct keeper *k, struct admin_client *c, const struct admin_request *req);
int admin_root_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req);

/* admin.c */
/* The last message of an answer. */
int admin_end(struct admin_client *c, int result, const char *text);
/* The only other one, and an END that says 0. */
int admin_end_with(struct admin_client *c, enum admin_reply_type type, const void *data,
		   size_t len);
void keeper_key_fill(const struct keeper *k, const struct keyset_key *key, struct board_key *ret);
int admin_send_key(struct admin_client *c, const struct board_key *key);
void admin_accept(struct keeper *k);
/* @fd, consumed, is a client from now on if its peer may be one. */
void admin_add(struct keeper *k, int fd);
/* What to poll the clients for; fd -1: nothing. */
void admin_poll(const struct keeper *k, struct pollfd ret[static ADMIN_CLIENTS]);
/* Something of that is so. */
void admin_serve(struct keeper *k, size_t client);
/* Requests that came while a change waited for the disk. */
void admin_serve_waiting(struct keeper *k);
/* Time passes: who takes too long is dropped. */
void admin_tick(struct keeper *k, uint64_t now);
void admin_close(struct keeper *k);
/* What k->parked waits for has come to its end. */
void admin_resume(struct keeper *k);

#endif
