/* SPDX-License-Identifier: Apache-2.0 */
/* Between config.c, config_obs.c and config_path.c. */
#ifndef KEKD_CHAIN_CONFIG_PRIVATE_H
#define KEKD_CHAIN_CONFIG_PRIVATE_H

#include <sys/un.h>

#include "daemon/chain/config.h"

#define CONFIG_SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/* What config_copy_path() takes, for a struct yaml_kind. */
#define CONFIG_PATH_PATTERN "(/(?!\\.{1,2}(/|$))[^/\\x00-\\x1f\\x7f]+)+"

/* A checked copy of a path of at most @max bytes; *ret is freed first. */
int config_copy_path(const struct yaml_doc *doc, const struct yaml_node *node, const char *what,
		     size_t max, char **ret);

/* Into a struct config, a struct config_audit. */
extern const struct yaml_field config_metrics_fields[], config_audit_fields[];

/* The same of `cluster`, which fills a struct config, and what its fields have to do with each other. */
extern const struct yaml_field config_cluster_fields[];
extern const struct yaml_kind config_kind_cluster;
/* Of `otherEtcds`, into a struct config_others; each element fills a struct config_cluster. */
extern const struct yaml_kind config_kind_others;
extern const struct yaml_field config_other_fields[];
yaml_get_fn config_get_others;
int config_check_cluster(const struct config *c, const struct yaml_doc *doc,
			 const struct yaml_node *at);

/* After everything has been read; @at is the node of `metrics`. */
int config_check_metrics(const struct config *c, const struct yaml_doc *doc,
			 const struct yaml_node *at);

#endif
