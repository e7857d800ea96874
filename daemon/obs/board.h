/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is told to monitoring, in one struct of fixed size. The keeper writes it into a page that
 * the observer process has mapped and can only read: so the process that speaks HTTP can send the
 * keeper nothing, not even a question.
 *
 * The page is a sequence lock with one writer. Its descriptor is sealed (memfd_create(2),
 * F_SEAL_FUTURE_WRITE): who gets it can neither write nor resize it, whatever he becomes.
 */
#ifndef KEKD_OBS_BOARD_H
#define KEKD_OBS_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/keyinfo.h"
#include "daemon/obs/metrics.h"
#include <kekd/limits.h>

/* A key, for the page and for kekctl, which the admin protocol brings it to as it is. */
struct board_key {
	struct key_info info;
	int32_t usable;                    /* 0, or why not: -EKEYREVOKED, … */
	uint32_t reserved;                 /* 0 */
	uint64_t encryptions, decryptions; /* by this keeper's servers */
	uint64_t last_used;                /* seconds since 1970, 0: never; at the latest */
};
_Static_assert(sizeof(struct board_key) == 600, "as on the wire");

/* What is not well and no counter tells; 0: it is. `kekctl status` gets it too. */
struct board_health {
	uint32_t store_stalled;   /* the key store's disk has not taken a write for 5 s */
	uint32_t uses_unrecorded; /* more was encrypted than the key store has on record */
	uint32_t sockets_lost;    /* whose file is gone or another's */
	uint32_t reload_refused;  /* the last one; what is in force is older than the files */
	uint32_t reloads;         /* that have ended, either way */
	uint32_t names_without;   /* a key that can be written with, and a chain wants to */
	uint32_t keys_unusable;   /* whose state says that they open values */
	uint32_t keys_ahead;      /* made at a time that the clock has not reached */
};

#define BOARD_MEMBERS_MAX 32
#define BOARD_NEVER       UINT64_MAX

struct board_member {
	char name[64];
	uint64_t age;  /* seconds since it was heard to answer, BOARD_NEVER; of this node 0 */
	bool answered; /* it has acknowledged the keyset that this node holds */
	bool differs;  /* its configuration is another than this node's */
};

/* The keyset in etcd, where kekd.yaml has `cluster:`. */
struct board_cluster {
	bool configured, away, alarm, current, confirmed;
	int32_t days;      /* that the client's certificate has left; INT32_MAX: there is none */
	uint64_t put_back; /* how often etcd had lost changes */
	uint64_t pending;  /* seconds that a change is on its way; BOARD_NEVER: there is none */
	uint32_t n_members;
	struct board_member members[BOARD_MEMBERS_MAX];
};

struct board {
	/* CLOCK_MONOTONIC, ns: when this was written, and when each server had reported a probe. */
	uint64_t written_ns, probed_ns;
	char version[32];
	char backend[16];
	char custody[16];
	char ring[16];
	bool serving;          /* a server said READY and lives, and none stands still */
	bool active;           /* the first chain has a key to write with */
	bool sealed;           /* the root key is away */
	char sealed_text[256]; /* "sealed: " and why */
	char root_id[24];      /* fingerprint of the root key; "": there is none */
	char root_second[24];  /* of another that is here, while the root is rotated */
	struct board_health health;
	uint32_t workers, workers_serving;
	uint32_t server_starts;
	uint64_t started, now;  /* seconds since 1970 */
	uint64_t generation;    /* of the keyset; 0: none */
	uint64_t root_rotating; /* the keyset is sealed under two root keys */
	uint64_t escrow_tested; /* the shares of the root key, seconds since 1970; 0: not known */
	uint64_t key_limit;     /* encryptions, after which a key is to be rotated */
	struct board_cluster cluster;
	struct metrics metrics;
	uint32_t n_keys;
	struct board_key keys[KEKD_KEYS_MAX];
};

struct board_page;

/* A page to write into, and the descriptor that its readers get; both the caller's. */
int board_page_new(struct board_page **ret, int *ret_fd);
/* The page behind @fd (borrowed), to read. -EPROTO: not one of ours. */
int board_page_map(int fd, struct board_page **ret);
void board_page_free(struct board_page *page);
DEFINE_CLEANUP(struct board_page *, board_page_free);

void board_write(struct board_page *page, const struct board *s);
/* -EAGAIN: nothing has been written yet, or the writer stands still in the middle. */
int board_read(const struct board_page *page, struct board *ret);

/* A text for people, which lives as long as @s, or NULL when all is well. @now_ns: CLOCK_MONOTONIC. */
const char *board_not_live(const struct board *s, uint64_t now_ns);
const char *board_not_ready(const struct board *s, uint64_t now_ns);

/* Everything as Prometheus' text format 0.0.4. */
void board_print(const struct board *s, FILE *to);

#endif
