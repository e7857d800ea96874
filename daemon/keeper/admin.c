/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket: root, whoever runs the keeper, or a configured group. One table says of each command what
 * it may bring, what must be so before it is tried, and who does it. Of more clients than there is
 * room for the oldest gives way that waits for nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/escrow.h"
#include "daemon/keys/secret.h"

/* SO_PEERGROUPS: the supplementary groups at the time of connect(2), which is where people are. */
static bool peer_in_group(int fd, gid_t gid)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return false;
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static void client_drop(struct keeper *k, size_t i)
{
	if (k->parked && k->parked == k->clients[i])
		k->parked = NULL; /* the change goes on */
	admin_client_free(move_ptr(k->clients[i]));
}

/* The clients stand in the order in which they came, without gaps; how many there are. */
static size_t clients_close_up(struct keeper *k)
{
	size_t n = 0;

	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *c = move_ptr(k->clients[i]);

		if (c)
			k->clients[n++] = c;
	}
	return n;
}

static size_t client_find(const struct keeper *k, bool (*is)(const struct admin_client *c))
{
	size_t i = 0;

	while (i < ADMIN_CLIENTS && is(k->clients[i]))
		i++;
	return i;
}

/* Whose request is being worked on is not dropped: somebody up the stack has it. @c consumed. */
static void client_add(struct keeper *k, struct admin_client *c)
{
	size_t n = clients_close_up(k), i;

	if (n == ADMIN_CLIENTS) {
		i = client_find(k, admin_client_busy);
		if (i == n)
			i = client_find(k, admin_client_waits);
		if (i == n) {
			admin_client_free(c);
			return;
		}
		client_drop(k, i);
		n = clients_close_up(k);
	}
	k->clients[n] = c;
}

static int verb_room(uint32_t verb, struct admin_room *ret);

void admin_add(struct keeper *k, int fd)
{
	const struct config_id *gid = &k->conf->config->admin_gid;
	_cleanup_(admin_client_freep) struct admin_client *c = NULL;
	const struct op_peer *peer;

	if (admin_client_new(fd, verb_room, &c) < 0) {
		close(fd);
		return;
	}
	peer = admin_client_peer(c);
	if (peer->uid == 0 || peer->uid == geteuid() ||
	    (gid->given && (peer->gid == gid->id || peer_in_group(fd, gid->id))))
		client_add(k, move_ptr(c));
	else
		log_warning("admin socket: refused uid %u, pid %d", peer->uid, peer->pid);
}

void admin_accept(struct keeper *k)
{
	int fd = accept4(k->admin_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		admin_add(k, fd);
}

int admin_end(struct admin_client *c, int result, const char *text)
{
	return admin_client_put(c, ADMIN_END, result, text, strlen(text));
}

static void admin_text_put(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

void keeper_key_fill(const struct keeper *k, const struct keyset_key *key, struct board_key *ret)
{
	const struct keeper_counts *counts = counts_of(k, key->rec.info.id);

	*ret = (struct board_key){
		.info = key->rec.info,
		.usable = key->why == 0 && k->sealed < 0 ? -EKEYEXPIRED : key->why,
		.encryptions = counts->encryptions,
		.decryptions = counts->decryptions,
		.last_used = (uint64_t)counts_last_used(k, &key->rec),
	};
}

int admin_send_key(struct admin_client *c, const struct board_key *key)
{
	return admin_client_put(c, ADMIN_KEY, 0, key, sizeof(*key));
}

int admin_end_with(struct admin_client *c, enum admin_reply_type type, const void *data, size_t len)
{
	int r = admin_client_put(c, type, 0, data, len);

	return r == 0 ? admin_end(c, 0, "") : r;
}

/* The key_id that a chain writes with; "" when its first provider has no keys, or may not be used. */
static void writing_key_id(const struct keeper *k, const struct encconf_item *item,
			   char ret[static KEY_ID_TEXT])
{
	const struct encconf_provider *p = &item->providers[0];
	const struct keyset_key *key;

	ret[0] = '\0';
	if (p->keys_count > 0 && k->sealed == 0 && custody_is_confirmed(k) &&
	    keyset_active(k->keys, p->keys[0].name, &key) == 0)
		key_id_format(&key->rec.info, ret);
}

static const char *const root_names[] = {
	[CONFIG_ROOT_EPHEMERAL] = "ephemeral",
	[CONFIG_ROOT_COMMAND] = "command",
	[CONFIG_ROOT_UNSEAL] = "unseal",
	[CONFIG_ROOT_TRUSTED] = "trusted",
};

static const char *keyset_words(const struct keeper *k)
{
	if (keyset_why(k->keys) < 0)
		return keyset_why_text(k->keys);
	if (keyset_doc(k->keys) && keydoc_is_removed(keyset_doc(k->keys), keyset_self(k->keys)->id))
		return "this node was removed from the keyset: it reads values and writes none. To be a "
		       "member again it starts with an empty key store and joins";
	if (keyset_is_previous(k->keys) && keyset_doc(k->keys)->n_members > 1)
		return "the keyset in the key store was damaged, and the one before it is in use: "
		       "values are read, and none is written until another member's is here: "
		       "`kekctl keyset export` there, `kekctl keyset apply` here";
	if (!keyset_may_write(k->keys))
		return "this node is no member of its keyset, or is leaving: it reads values and writes "
		       "none. See `kekctl keyset show`";
	if (!custody_is_confirmed(k))
		return "the keyset was not read from etcd since the start: values are read and none is "
		       "written. See `kekctl cluster status`";
	if (keyset_is_previous(k->keys))
		return "the keyset in the key store was damaged, and the one before it is in use: look "
		       "after the disk, and make a backup";
	return "";
}

static int do_status(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	const struct list *head = keyset_list(k->keys);
	struct admin_status status = { 0 }, *s = &status;

	admin_text_put(s->version, sizeof(s->version), KEKD_VERSION);
	admin_text_put(s->backend, sizeof(s->backend), keeper_backend(k));
	admin_text_put(s->custody, sizeof(s->custody), keeper_custody(k));
	admin_text_put(s->ring, sizeof(s->ring), k->ring_text);
	admin_text_put(s->root, sizeof(s->root), root_names[k->conf->config->root_source]);
	admin_text_put(s->socket, sizeof(s->socket), k->conf->config->sockets.v[0]);
	if (k->conf->config->transform.socket)
		admin_text_put(s->transform, sizeof(s->transform),
			       k->conf->config->transform.socket);
	s->keeper_pid = getpid();
	s->workers = (uint32_t)k->n_workers;
	s->workers_serving = k->ready ? (uint32_t)server_serving(k) : 0;
	for (size_t i = 0; i < k->n_workers; i++)
		s->server_pids[i] = k->workers[i].pid;
	s->sealed = k->sealed < 0;
	if (s->sealed)
		admin_text_put(s->sealed_text, sizeof(s->sealed_text), k->sealed_text);
	custody_root_id(k, s->root_id);
	root_second_id(k, s->root_second);
	root_rotation_ids(k, s->root_going, s->root_coming);
	if (k->root)
		admin_text_put(s->root_type, sizeof(s->root_type), root_key_type(k->root));
	if (k->second)
		admin_text_put(s->root_second_type, sizeof(s->root_second_type),
			       root_key_type(k->second));
	s->server_starts = k->starts;
	s->started = (uint64_t)k->started;
	s->escrow_tested = (uint64_t)k->escrow_tested;
	s->key_limit = rotation_limit(k);
	for (const struct list *n = head->next; n != head; n = n->next)
		s->keys++;
	writing_key_id(k, &k->conf->enc->items[0], s->key_id);
	keeper_health(k, now_ns(), &s->health);
	admin_text_put(s->node, sizeof(s->node), keyset_self(k->keys)->name);
	admin_text_put(s->keyset_text, sizeof(s->keyset_text), keyset_words(k));
	if (keyset_doc(k->keys)) {
		s->generation = keyset_doc(k->keys)->generation;
		s->members = (uint32_t)keyset_doc(k->keys)->n_members;
	}
	return admin_end_with(c, ADMIN_STATUS_REPLY, s, sizeof(*s));
}

/* A line for each resource: the number of its chain, its name and the key_id, or "-". */
static int do_writes(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	const struct encconf *enc = k->conf->enc;
	_cleanup_free_ char *text = NULL;
	char key_id[KEY_ID_TEXT];
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < enc->items_count; i++) {
		writing_key_id(k, &enc->items[i], key_id);
		for (size_t j = 0; j < enc->items[i].resources_count; j++)
			fprintf(f, "%zu %s %s\n", i, enc->items[i].resources[j].name,
				*key_id ? key_id : "-");
	}
	return fclose(f) == 0 ? admin_end_with(c, ADMIN_TEXT, text, len) : -ENOMEM;
}

static int do_key_list(struct keeper *k, struct admin_client *c,
		       const struct admin_request *req _unused_)
{
	const struct list *head = keyset_list(k->keys);
	struct board_key key;
	int r = 0;

	for (const struct list *n = head->next; r == 0 && n != head; n = n->next) {
		keeper_key_fill(k, list_entry(n, struct keyset_key, link), &key);
		r = admin_send_key(c, &key);
	}
	return r == 0 ? admin_end(c, 0, "") : r;
}

static int do_metrics(struct keeper *k, struct admin_client *c,
		      const struct admin_request *req _unused_)
{
	struct metrics m;

	server_metrics(k, &m);
	return admin_end_with(c, ADMIN_METRICS_REPLY, &m, sizeof(m));
}

/* How it ends the status tells: it may have to wait for a server. */
static int do_reload(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	const struct op_peer *peer = admin_client_peer(c);

	log_notice("reload asked for by uid %u, pid %d", peer->uid, peer->pid);
	k->reload_wanted = true;
	sockets_look_again(k);
	rootcmd_again(k);
	return admin_end(c, 0, "");
}

enum command_flag {
	ROOT_KEY = 1, /* is refused while the root key is not there */
	CHANGES =
		2, /* changes keys: the audit tells of it before it is tried, and of nothing else */
	SECRET = 4, /* brings a secret, which is received into locked memory */
};

static const struct admin_command {
	const char *name; /* that kekctl has for it */
	int (*run)(struct keeper *k, struct admin_client *c, const struct admin_request *req);
	unsigned int flags;
	size_t room; /* for bytes behind the request */
} commands[ADMIN_VERBS] = {
	[ADMIN_STATUS] = { "status", do_status, 0, 0 },
	[ADMIN_KEY_LIST] = { "key list", do_key_list, 0, 0 },
	[ADMIN_KEY_CREATE] = { "key create", admin_key_create, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_IMPORT] = { "key import", admin_key_import, ROOT_KEY | CHANGES | SECRET,
			       sizeof(struct admin_import) },
	[ADMIN_KEY_STAGE] = { "key stage", admin_key_stage, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_ACTIVATE] = { "key activate", admin_key_activate, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_RETIRE] = { "key retire", admin_key_retire, CHANGES, 0 },
	[ADMIN_KEY_MARK] = { "key mark", admin_key_mark, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_MARKED] = { "scan --proof", admin_key_marked, 0, 0 },
	[ADMIN_KEY_REOPEN] = { "key reopen", admin_key_reopen, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_DESTROY] = { "key destroy", admin_key_destroy, CHANGES, 0 },
	[ADMIN_KEY_ROTATE] = { "key rotate", admin_key_rotate, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_ABORT] = { "key rotate --abort", admin_key_abort, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEY_RELOAD] = { "key reload", admin_key_reload, ROOT_KEY | CHANGES, 0 },
	[ADMIN_UNSEAL] = { "unseal", admin_unseal, CHANGES | SECRET, SECRET_MAX },
	[ADMIN_KEY_VERIFY] = { "key verify", admin_key_verify, ROOT_KEY, 0 },
	[ADMIN_METRICS] = { "metrics", do_metrics, 0, 0 },
	[ADMIN_KEYSET_SHOW] = { "keyset show", admin_keyset_show, ROOT_KEY, 0 },
	[ADMIN_KEYSET_EXPORT] = { "keyset export", admin_keyset_export, ROOT_KEY, 0 },
	[ADMIN_KEYSET_APPLY] = { "keyset apply", admin_keyset_apply, ROOT_KEY | CHANGES,
				 ADMIN_BODY_MAX - sizeof(struct admin_request) },
	[ADMIN_KEYSET_ACK] = { "keyset ack", admin_keyset_ack, ROOT_KEY | CHANGES,
			       ADMIN_BODY_MAX - sizeof(struct admin_request) },
	[ADMIN_KEYSET_TAKE] = { "keyset take", admin_keyset_take, ROOT_KEY | CHANGES, 0 },
	[ADMIN_KEYSET_MERGE] = { "keyset merge", admin_keyset_merge, ROOT_KEY | CHANGES,
				 ADMIN_BODY_MAX - sizeof(struct admin_request) },
	[ADMIN_KEYSET_REMOVE] = { "keyset remove", admin_keyset_remove, ROOT_KEY | CHANGES, 0 },
	[ADMIN_CLUSTER_STATUS] = { "cluster status", admin_cluster_status, 0, 0 },
	[ADMIN_CLUSTER_CREATE] = { "cluster create", admin_cluster_create, ROOT_KEY | CHANGES, 0 },
	[ADMIN_CLUSTER_JOIN] = { "cluster join", admin_cluster_join, ROOT_KEY | CHANGES, 0 },
	[ADMIN_CLUSTER_SERVE] = { "cluster serve --unconfirmed", admin_cluster_serve,
				  ROOT_KEY | CHANGES, 0 },
	[ADMIN_WRITES] = { "reencrypt", do_writes, 0, 0 },
	[ADMIN_BACKUP_VERIFY] = { "backup verify", admin_backup_verify, ROOT_KEY, BACKUP_TEXT_MAX },
	[ADMIN_RELOAD] = { "reload", do_reload, 0, 0 },
	[ADMIN_RESTORE] = { "restore", admin_restore, ROOT_KEY | CHANGES, BACKUP_TEXT_MAX },
	[ADMIN_ROOT_VERIFY] = { "root verify", admin_root_verify, ROOT_KEY | CHANGES,
				ESCROW_TEXT_MAX },
	[ADMIN_ROOT_NEXT] = { "root next", admin_root_next, ROOT_KEY | CHANGES | SECRET,
			      SECRET_MAX },
	[ADMIN_ROOT_ROTATE] = { "root rotate", admin_root_rotate, ROOT_KEY | CHANGES,
				ADMIN_BODY_MAX - sizeof(struct admin_request) },
};

static int verb_room(uint32_t verb, struct admin_room *ret)
{
	const struct admin_command *cmd = verb < ADMIN_VERBS ? &commands[verb] : NULL;

	if (!cmd || !cmd->run)
		return -EOPNOTSUPP;
	*ret = (struct admin_room){ cmd->room, cmd->flags & SECRET };
	return 0;
}

/* admin_client_read() has let no other verb pass. */
static int dispatch(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct admin_command *cmd = &commands[req->verb];
	struct keydoc_refusal why;

	if ((cmd->flags & CHANGES) &&
	    keeper_audit_command(k, admin_client_peer(c), cmd->name, req->name) < 0)
		return admin_end(c, -EIO, "the audit cannot be written; nothing was done");
	if ((cmd->flags & ROOT_KEY) && k->sealed < 0) {
		keydoc_refuse(&why, -EKEYEXPIRED, "sealed: %s. See `kekctl unseal`",
			      k->sealed_text);
		return admin_refuse(c, &why);
	}
	return cmd->run(k, c, req);
}

/* A request whose change is on its way to etcd stays where it is until admin_resume(). */
static int dispatched(struct keeper *k, struct admin_client *c, int r)
{
	if (r == -EINPROGRESS) {
		k->parked = c;
		return 0;
	}
	admin_client_done(c, now_ns());
	return r < 0 ? r : admin_client_flush(c);
}

void admin_resume(struct keeper *k)
{
	struct admin_client *c = move_ptr(k->parked);
	const struct admin_request *req = c ? admin_client_request(c) : NULL;
	int r;

	if (!c)
		return;
	k->resumed = true;
	r = commands[req->verb].run(k, c, req);
	k->resumed = false;
	if (dispatched(k, c, r) >= 0)
		return;
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (k->clients[i] == c)
			client_drop(k, i);
}

/* One request at most, so that each client has its turn. */
static int serve_one(struct keeper *k, struct admin_client *c)
{
	const struct admin_request *req;
	int r;

	if (c == k->parked)
		return 0;
	r = admin_client_flush(c);
	if (r < 0 || admin_client_events(c) != POLLIN)
		return r;
	r = admin_client_read(c, now_ns());
	if (r <= 0)
		return r < 0 ? r : admin_client_flush(c);
	req = admin_client_request(c);
	/* While one changes the keyset and waits for the disk, others that would wait; those that ask do not. */
	if (k->changing && commands[req->verb].flags & CHANGES)
		return 0;
	return dispatched(k, c, dispatch(k, c, req));
}

void admin_serve(struct keeper *k, size_t client)
{
	struct admin_client *c = k->clients[client];

	if (!c || serve_one(k, c) >= 0)
		return;
	/* Others may have come and gone since it was looked up. */
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (k->clients[i] == c)
			client_drop(k, i);
}

void admin_serve_waiting(struct keeper *k)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		if (k->clients[i] && admin_client_waits(k->clients[i]))
			admin_serve(k, i);
}

void admin_poll(const struct keeper *k, struct pollfd ret[static ADMIN_CLIENTS])
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		const struct admin_client *c = k->clients[i];

		bool asks = c && !admin_client_waits(c);

		ret[i] = (struct pollfd){ .fd = asks ? admin_client_fd(c) : -1,
					  .events = c ? admin_client_events(c) : (short)0 };
	}
}

void admin_tick(struct keeper *k, uint64_t now)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *c = k->clients[i];

		if (!c || !admin_client_late(c, now))
			continue;
		log_warning(
			"admin socket: uid %u, pid %d has neither sent its request nor read the "
			"answer within %u s; dropped",
			admin_client_peer(c)->uid, admin_client_peer(c)->pid,
			(unsigned int)(ADMIN_CLIENT_NS / 1000000000));
		client_drop(k, i);
	}
}

void admin_close(struct keeper *k)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		client_drop(k, i);
}
