/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl's commands. Each has one line in kekctl.c's table, and its function, ctl_ and the words of
 * that line, is in the file of its name. Commands that share what they do share a file: key… and
 * import.c are `key`, kms.c is `encrypt` and `decrypt`, apiserver.c and schema.c are `config`, backup.c
 * is `restore` too. Exit status: 0 done, 1 refused or failed, 2 wrong usage; scan.h and complete.c have others.
 */
#ifndef KEKD_CTL_CTL_H
#define KEKD_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include "daemon/ctl/admin.h"

#define CTL_ADMIN_DEFAULT  "/run/kekd/admin.sock"
#define CTL_CONFIG_DEFAULT "/etc/kekd/kekd.yaml"
#define CTL_TIMEOUT        10    /* seconds */
#define CTL_TIMEOUT_MAX    86400 /* a day */

/* The options of a command line; kekctl.c says which command has which. NULL, false: not given. */
struct ctl {
	const char *admin, *socket;
	const char *timeout;
	unsigned int timeout_s; /* that the keeper has to answer; 0: any time */
	bool json;

	bool dry_run, force, abort, join, dead, alone, portable;
	bool merge, discard, unconfirmed, watch;
	const char *yes_destroy, *proof;
	const char *fingerprint;
	bool is_new, retry;

	const char *output, *path, *prefix, *resource, *config, *uses;
	bool verify, offline, decode, reveal, salvage;
	bool etcd;
	const char *folder, *textfile;
	const char *endpoints, *cacert, *cert, *cert_key;

	const char *kubeconfig, *context, *page, *rate, *state;
	bool migration;

	bool complete, now;
	const char *wait;

	const char *as, *pid;
	const char *answers, *distribution, *server, *root_key, *custody;
	const char *shares, *threshold, *share_fds, *root_fds, *tpm;
};

/* What a command writes to standard output. With --json text becomes an object of its lines; data never changes. */
enum ctl_output { OUT_TEXT, OUT_JSON, OUT_DATA };

struct ctl_command {
	enum ctl_output out;
	const char *words;   /* "key list" */
	const char *args;    /* for the usage text */
	const char *options; /* that it has beside the global ones: "dry-run force" */
	const char *help;
	/* @argv: what follows the words; argc says how many, NULL-terminated. */
	int (*run)(const struct ctl *ctl, int argc, char **argv);
};

int ctl_status(const struct ctl *ctl, int argc, char **argv);
int ctl_key_create(const struct ctl *ctl, int argc, char **argv);
int ctl_key_list(const struct ctl *ctl, int argc, char **argv);
int ctl_key_import(const struct ctl *ctl, int argc, char **argv);
int ctl_transform_to(const struct ctl *ctl, int argc, char **argv);
int ctl_transform_from(const struct ctl *ctl, int argc, char **argv);
int ctl_key_show(const struct ctl *ctl, int argc, char **argv);
int ctl_key_stage(const struct ctl *ctl, int argc, char **argv);
int ctl_key_activate(const struct ctl *ctl, int argc, char **argv);
int ctl_key_mark(const struct ctl *ctl, int argc, char **argv);
int ctl_key_retire(const struct ctl *ctl, int argc, char **argv);
int ctl_key_reopen(const struct ctl *ctl, int argc, char **argv);
int ctl_key_destroy(const struct ctl *ctl, int argc, char **argv);
int ctl_key_rotate(const struct ctl *ctl, int argc, char **argv);
int ctl_rotate(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_show(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_export(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_apply(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_ack(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_take(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_merge(const struct ctl *ctl, int argc, char **argv);
int ctl_keyset_remove(const struct ctl *ctl, int argc, char **argv);
int ctl_cluster_status(const struct ctl *ctl, int argc, char **argv);
int ctl_cluster_create(const struct ctl *ctl, int argc, char **argv);
int ctl_cluster_join(const struct ctl *ctl, int argc, char **argv);
int ctl_cluster_remove(const struct ctl *ctl, int argc, char **argv);
int ctl_cluster_serve(const struct ctl *ctl, int argc, char **argv);
int ctl_backup(const struct ctl *ctl, int argc, char **argv);
int ctl_backup_verify(const struct ctl *ctl, int argc, char **argv);
int ctl_restore(const struct ctl *ctl, int argc, char **argv);
int ctl_reencrypt(const struct ctl *ctl, int argc, char **argv);
/* status.c: each thing that is not well, with its cure. */
void ctl_health(const struct board_health *h,
		void (*put)(void *ctx, const char *what, const char *cure), void *ctx);
/* How long ago the shares of the root key were tested; -1: not known. */
int64_t ctl_escrow_days(const struct admin_status *s);
int ctl_reload(const struct ctl *ctl, int argc, char **argv);
int ctl_root_create(const struct ctl *ctl, int argc, char **argv);
int ctl_root_restore(const struct ctl *ctl, int argc, char **argv);
int ctl_root_verify(const struct ctl *ctl, int argc, char **argv);
int ctl_root_seal(const struct ctl *ctl, int argc, char **argv);
int ctl_root_next(const struct ctl *ctl, int argc, char **argv);
int ctl_root_rotate(const struct ctl *ctl, int argc, char **argv);
int ctl_unseal(const struct ctl *ctl, int argc, char **argv);
int ctl_key_reload(const struct ctl *ctl, int argc, char **argv);
int ctl_key_verify(const struct ctl *ctl, int argc, char **argv);
int ctl_scan(const struct ctl *ctl, int argc, char **argv);
int ctl_open(const struct ctl *ctl, int argc, char **argv);
int ctl_encrypt(const struct ctl *ctl, int argc, char **argv);
int ctl_decrypt(const struct ctl *ctl, int argc, char **argv);
int ctl_config_check(const struct ctl *ctl, int argc, char **argv);
int ctl_metrics(const struct ctl *ctl, int argc, char **argv);
int ctl_doctor(const struct ctl *ctl, int argc, char **argv);
int ctl_init(const struct ctl *ctl, int argc, char **argv);
int ctl_probe(const struct ctl *ctl, int argc, char **argv);
int ctl_config_units(const struct ctl *ctl, int argc, char **argv);
int ctl_config_schema(const struct ctl *ctl, int argc, char **argv);
int ctl_top(const struct ctl *ctl, int argc, char **argv);
int ctl_config_apiserver(const struct ctl *ctl, int argc, char **argv);

/* Of a value with transform_result.doubtful. */
#define DOUBTFUL                                                                                 \
	"opened without a tag to check it (aescbc), and it is no object of Kubernetes: the key " \
	"may be a wrong one"

/* "kekctl: ..." on stderr, or with --json a part of the object that comes at the end; always 1. */
int ctl_fail(const char *fmt, ...) _printf_(1, 2);
/* The same for wrong usage; always 2. */
int ctl_usage(const char *fmt, ...) _printf_(1, 2);
/* ctl_fail() with one of the codes that kekctl(1) lists. Borrowed, for good. */
#define CTL_FAILED "failed"
int ctl_fail_as(const char *code, const char *fmt, ...) _printf_(2, 3);

/* From now on, collect errors; at the end, @command's object of them on stderr, if there was one. Returns @status. */
void ctl_errors_json(void);
int ctl_errors_end(const char *command, int status);

/* What a request was answered, but for its keys and its text. */
struct admin_reply {
	int32_t r; /* 0 or -errno */
	union {
		struct admin_status status;
		struct metrics metrics;
	};
	char text[512]; /* with r < 0: what to do */
};

/* The keeper has refused: why, in its words; always 1. */
int ctl_refused(const struct admin_reply *end);

typedef void ctl_each_fn(void *ctx, const struct board_key *key);
typedef void ctl_member_fn(void *ctx, const struct admin_member *member);
typedef void ctl_cluster_fn(void *ctx, const struct admin_cluster *cluster);
typedef void ctl_member_key_fn(void *ctx, const struct admin_member_key *key);

/* What is asked, and where the answer goes. All borrowed. */
struct ctl_exchange {
	const struct admin_request *req;
	struct span blob;      /* that the verb takes, or none */
	ctl_each_fn *each;     /* for every KEY, or NULL */
	ctl_member_fn *member; /* for every MEMBER, or NULL */
	ctl_cluster_fn *cluster;
	ctl_member_key_fn *member_key;
	void *ctx;
	struct admin_mark *ret_mark; /* of MARK, or NULL */
	char **ret_text; /* of the answer, or NULL: not wanted. The caller frees it; NULL if none came */
	size_t *ret_len; /* of that; a NUL follows */
};

/*
 * Ask the keeper. ctl_try() says nothing: 0 or -errno, which ctl_admin_words() puts in words. ctl_exchange() says
 * why there is no answer; 0 or 1. With both a refusal is the caller's to judge: ret_end->r. ctl_ask_with() says
 * that too; 0 or 1.
 */
int ctl_try(const struct ctl *ctl, const struct ctl_exchange *x, struct admin_reply *ret_end);
int ctl_exchange(const struct ctl *ctl, const struct ctl_exchange *x, struct admin_reply *ret_end);
int ctl_ask_with(const struct ctl *ctl, const struct ctl_exchange *x, struct admin_reply *ret_end);
/* What happened, where, and what to type next. */
void ctl_admin_words(const struct ctl *ctl, int r, char *ret, size_t size);

/*
 * ctl_exchange() for a change. One that has to wait for members or for etcd is answered -EINPROGRESS: it is said whom
 * it waits for, and asked for again, as the same request goes on with what was begun. @again, or NULL, may alter the
 * request in between.
 */
typedef void ctl_again_fn(void *ctx);
int ctl_change(const struct ctl *ctl, const struct ctl_exchange *x, ctl_again_fn *again,
	       struct admin_reply *ret_end);

/* ctl_ask_with() and ctl_exchange() for a request that brings nothing. */
int ctl_ask(const struct ctl *ctl, const struct admin_request *req, ctl_each_fn *each, void *ctx,
	    struct admin_reply *ret_end);
int ctl_ask_quiet(const struct ctl *ctl, const struct admin_request *req,
		  struct admin_reply *ret_end);

/* "2026-01-31T12:00:00Z" */
void ctl_time_text(uint64_t seconds, char ret[static 24]);

/* A node's keys. Zero-initialised is none. */
struct ctl_keys {
	struct board_key *v;
	size_t n;
	bool full;
};
/* All keys of the keeper into an empty list, the caller's to clear; 0 or 1 (said). */
int ctl_keys_get(const struct ctl *ctl, struct ctl_keys *ret);
void ctl_keys_clear(struct ctl_keys *keys);

/* A change of a key: asked for until it is made, and @print is called with the key. 0 or 1 (said). */
int ctl_key_change(const struct ctl *ctl, struct admin_request *req, ctl_each_fn *print);

/* All of a key; the caller's reference. */
/* By what is unique for ever: its label, its key_id, or the first eight or more digits of its id? */
bool ctl_key_is_named(const struct key_info *key, const char *what);
json_t *ctl_key_json(const struct board_key *key);
void ctl_key_print(const struct board_key *key);

/* All of a file or pipe, of what a keyset's text may be at most; caller frees. 0 or 1 (said). */
int ctl_read_text(int fd, const char *what, char **ret, size_t *ret_len);

/* metrics.c: everything that is counted, into a zeroed *@ret. 0 or 1 (said). */
struct board;
int ctl_board(const struct ctl *ctl, struct board *ret);

/* Print @j on stdout, one line's end, and free it; 0 or 1. NULL is out of memory. */
int ctl_print_json(json_t *j);
/* The KMS socket: --socket, or what the keeper says. 0 or 1 (said). */
int ctl_kms_socket(const struct ctl *ctl, char *ret, size_t size);
/* The same for the Transform service, and how many servers accept there: 1 where --socket names it. NULL: not wanted. */
int ctl_transform_socket(const struct ctl *ctl, char *ret, size_t size, unsigned int *ret_servers);

#endif
