/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd.yaml: whatever the bytes, there is a configuration that keeps its promises, or an error with
 * a message. Seeds: tests/fuzz/corpus/config.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool cond)
{
	if (!cond)
		abort();
}

static void check(const struct config *c)
{
	require(c->sockets.count >= 1 && c->sockets.count <= CONFIG_SOCKETS_MAX);
	for (size_t i = 0; i < c->sockets.count; i++) {
		require(c->sockets.v[i][0] == '/' && strlen(c->sockets.v[i]) < 108);
		require(strcmp(c->sockets.v[i], c->admin_socket) != 0);
	}
	require(!c->sockets.v[c->sockets.count]);
	require((c->socket_mode & ~0666U) == 0);
	require(c->peer_uids.count + c->peer_gids.count > 0);
	require((c->root_source == CONFIG_ROOT_COMMAND) == (c->root_command.count > 0));
	require(c->server_user.name || c->server_user.id != 0);
	require(c->limits.message_bytes <= 65536);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_error err = { 0 };
	struct config *c = NULL;
	int r;

	r = config_parse(span_of(data, size), "f", &c, &err);
	require(r == 0 || r == -EINVAL);
	require((r == 0) == (c != NULL) && (r == 0) == (err.text[0] == 0));
	if (c)
		check(c);
	config_free(c);
	return 0;
}
