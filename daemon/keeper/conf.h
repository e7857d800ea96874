/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two configuration files as the keeper holds them: parsed, and as sealed memfds, so that the
 * server parses the very bytes that were checked here, whatever happens to the files meanwhile.
 */
#ifndef KEKD_KEEPER_CONF_H
#define KEKD_KEEPER_CONF_H

#include "daemon/chain/config.h"
#include "daemon/chain/encconf.h"
#include "daemon/crypto/digest.h"

struct conf {
	struct config *config;
	struct encconf *enc;
	int config_fd, enc_fd;
	/*
	 * Of what has to be the same on all nodes: the chains (resources, providers, names of keys) and `rotation:`. Not
	 * of comments and the order of fields, nor of paths and limits, which are a machine's own.
	 */
	uint8_t digest[SHA256_LEN];
};

/*
 * Read, parse and cross-check. On failure the log says file:line:column, what is wrong and what to
 * write instead; -EINVAL, or the error of reading a file.
 */
int conf_load(const char *path, struct conf **ret);
void conf_free(struct conf *c);
DEFINE_CLEANUP(struct conf *, conf_free);

/* Does a chain of this configuration name @name as a key of a kernel provider? */
bool conf_names_key(const struct conf *c, const char *name);

/* Is @path the socket of a kms entry? */
bool conf_names_upstream(const struct conf *c, const char *path);

/* Can a running daemon change to @next? Says in the log what needs a restart. -EOPNOTSUPP. */
int conf_reloadable(const struct conf *now, const struct conf *next);

#endif
