/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "daemon/chain/config.h"
#include "tests/harness/ktest.h"

/* The shortest good file; further lines are added behind it, from line 3 on. */
#define SHORTEST                      \
	"allowedPeers: {uids: [0]}\n" \
	"rootKey: {source: unseal}\n"

static struct config *good(const char *text)
{
	struct yaml_error err = { 0 };
	struct config *c = NULL;

	if (!EXPECT_OK(config_parse(span_str(text), "kekd.yaml", &c, &err)))
		ktest_log("%s", err.text);
	ASSERT_NOT_NULL(c);
	return c;
}

static void bad(const char *text, const char *message)
{
	struct yaml_error err = { 0 };
	struct config *c = NULL;

	EXPECT_ERR(-EINVAL, config_parse(span_str(text), "kekd.yaml", &c, &err));
	EXPECT_STREQ(message, err.text);
	EXPECT_NULL(c);
	config_free(c);
}

TEST(defaults)
{
	struct config *c = good(SHORTEST);

	EXPECT_STREQ("kekd.yaml", c->file);
	ASSERT_EQ(1, c->sockets.count);
	EXPECT_STREQ("/run/kekd/kms.sock", c->sockets.v[0]);
	EXPECT_NULL(c->sockets.v[1]);
	EXPECT_EQ(0600, c->socket_mode);
	EXPECT_FALSE(c->socket_group.given);
	EXPECT_STREQ("/run/kekd/admin.sock", c->admin_socket);
	EXPECT_FALSE(c->admin_gid.given);
	EXPECT_STREQ("/etc/kekd/encryption.yaml", c->encryption_config);
	EXPECT_EQ(CONFIG_RING_AUTO, c->ring);
	EXPECT_STREQ("/var/lib/kekd/keys", c->key_store);
	EXPECT_EQ(CONFIG_ROOT_UNSEAL, c->root_source);
	EXPECT_EQ(0, c->root_command.count);
	EXPECT_EQ(200000U, c->rotation.max_encryptions);
	EXPECT_EQ(0, c->rotation.max_age);
	EXPECT_FALSE(c->rotation.automatic);
	EXPECT_EQ(2592000000000000, c->rotation.keep_retired);
	EXPECT_NULL(c->node);
	EXPECT_EQ(10000000000, c->root_timeout);
	EXPECT_STREQ("kekd", c->server_user.name);
	EXPECT_EQ(256, c->limits.connections);
	EXPECT_EQ(1024, c->limits.streams);
	EXPECT_EQ(8192, c->limits.in_flight);
	EXPECT_EQ(65536, c->limits.message_bytes);
	EXPECT_EQ(33554432, c->limits.locked_memory);
	EXPECT_EQ(CONFIG_POLICY_STANDARD, c->policy);
	config_free(c);
}

TEST(everything_given)
{
	struct config *c = good("sockets: [/run/a, /run/b]\n"
				"socketMode: \"0660\"\n"
				"socketGroup: 12\n"
				"allowedPeers:\n"
				"  uids: [0, root]\n"
				"  gids: [daemon, 7]\n"
				"admin: { socket: /run/c, gid: adm }\n"
				"encryptionConfig: /etc/e.yaml\n"
				"backend: kernel\n"
				"custody: serial\n"
				"ring: epoll\n"
				"keyStore: /keys\n"
				"rootKey: { source: command, command: [/bin/echo, '', \"-\"], "
				"timeout: 1m }\n"
				"rotation: {maxAge: 48h, maxEncryptions: 7, auto: on, "
				"keepRetired: 0s}\n"
				"node: CP-1.example\n"
				"server: { user: 65534 }\n"
				"limits: { connections: 1, streams: 2, inFlight: 3, "
				"messageBytes: 40000, lockedMemoryBytes: 0x200000 }\n"
				"policy: strict\n");

	ASSERT_EQ(2, c->sockets.count);
	EXPECT_STREQ("/run/b", c->sockets.v[1]);
	EXPECT_EQ(0660, c->socket_mode);
	EXPECT_TRUE(c->socket_group.given && c->socket_group.resolved);
	EXPECT_EQ(12, c->socket_group.id);
	ASSERT_EQ(2, c->peer_uids.count);
	EXPECT_TRUE(c->peer_uids.v[0].resolved);
	EXPECT_STREQ("root", c->peer_uids.v[1].name);
	EXPECT_FALSE(c->peer_uids.v[1].resolved);
	ASSERT_EQ(2, c->peer_gids.count);
	EXPECT_EQ(7, c->peer_gids.v[1].id);
	EXPECT_STREQ("/run/c", c->admin_socket);
	EXPECT_STREQ("adm", c->admin_gid.name);
	EXPECT_STREQ("/etc/e.yaml", c->encryption_config);
	EXPECT_EQ(CONFIG_CUSTODY_SERIAL, c->custody);
	EXPECT_EQ(CONFIG_RING_EPOLL, c->ring);
	EXPECT_STREQ("/keys", c->key_store);
	EXPECT_EQ(CONFIG_ROOT_COMMAND, c->root_source);
	ASSERT_EQ(3, c->root_command.count);
	EXPECT_STREQ("/bin/echo", c->root_command.v[0]);
	EXPECT_STREQ("", c->root_command.v[1]);
	EXPECT_NULL(c->root_command.v[3]);
	EXPECT_EQ(7U, c->rotation.max_encryptions);
	EXPECT_EQ(172800000000000, c->rotation.max_age);
	EXPECT_TRUE(c->rotation.automatic);
	EXPECT_EQ(0, c->rotation.keep_retired);
	EXPECT_STREQ("CP-1.example", c->node);
	EXPECT_EQ(60000000000, c->root_timeout);
	EXPECT_NULL(c->server_user.name);
	EXPECT_EQ(65534, c->server_user.id);
	EXPECT_EQ(1, c->limits.connections);
	EXPECT_EQ(2, c->limits.streams);
	EXPECT_EQ(3, c->limits.in_flight);
	EXPECT_EQ(40000, c->limits.message_bytes);
	EXPECT_EQ(0x200000, c->limits.locked_memory);
	EXPECT_EQ(CONFIG_POLICY_STRICT, c->policy);
	config_free(c);
}

TEST(custody)
{
	struct config *c = good(SHORTEST);

	EXPECT_EQ(CONFIG_CUSTODY_SERIAL, c->custody);
	config_free(c);
	c = good(SHORTEST "custody: value\n");
	EXPECT_EQ(CONFIG_CUSTODY_VALUE, c->custody);
	config_free(c);
	c = good(SHORTEST "custody: holder\nbackend: kernel\n");
	EXPECT_EQ(CONFIG_CUSTODY_HOLDER, c->custody);
	config_free(c);
	bad(SHORTEST "custody: tpm\n",
	    "kekd.yaml:3:10: \"custody\" must be serial, value or holder");
	bad(SHORTEST "backend: openssl\n",
	    "kekd.yaml:3:10: \"backend: openssl\" is gone, as it put keys into the process that "
	    "reads what clients send: write \"custody: holder\" in its place");
	bad(SHORTEST "custody: value\npolicy: strict\n",
	    "kekd.yaml:3:10: custody value is refused by \"policy: strict\": keys would pass "
	    "through the daemon's memory");
	bad(SHORTEST "policy: strict\ncustody: holder\n",
	    "kekd.yaml:4:10: custody holder is refused by \"policy: strict\": keys would be in "
	    "the daemon's memory");
}

TEST(json_too)
{
	struct config *c = good("{\"allowedPeers\": {\"gids\": [\"root\"]},\n"
				"\t\"rootKey\": {\"source\": \"ephemeral\"}}\n");

	EXPECT_EQ(CONFIG_ROOT_EPHEMERAL, c->root_source);
	EXPECT_EQ(0, c->peer_uids.count);
	config_free(c);
}

TEST(what_has_no_default)
{
	bad("", "kekd.yaml:1:1: expected a mapping, not nothing");
	bad("rootKey: {source: unseal}\n", "kekd.yaml:1:1: missing field \"allowedPeers\"");
	bad("allowedPeers: {uids: [0]}\n", "kekd.yaml:1:1: missing field \"rootKey\"");
	bad("allowedPeers: {}\nrootKey: {source: unseal}\n",
	    "kekd.yaml:1:1: \"allowedPeers\" must name at least one");
	bad("allowedPeers: {uids: [], gids: []}\nrootKey: {source: unseal}\n",
	    "kekd.yaml:1:1: \"allowedPeers\" must name at least one");
	bad("allowedPeers: {uids: [0]}\nrootKey: {}\n", "kekd.yaml:2:10: missing field \"source\"");
}

TEST(unknown_fields)
{
	bad(SHORTEST "soket: /run/a\n",
	    "kekd.yaml:3:1: unknown field \"soket\", did you mean \"socket\"?");
	bad(SHORTEST "socketmode: \"0600\"\n",
	    "kekd.yaml:3:1: unknown field \"socketmode\", did you mean \"socketMode\"?");
	bad(SHORTEST "limits: {conections: 1}\n",
	    "kekd.yaml:3:10: unknown field \"conections\", did you mean \"connections\"?");
	bad(SHORTEST "admin: {gids: 0}\n",
	    "kekd.yaml:3:9: unknown field \"gids\", did you mean \"gid\"?");
	bad("allowedPeers: {uid: [0]}\nrootKey: {source: unseal}\n",
	    "kekd.yaml:1:16: unknown field \"uid\", did you mean \"uids\"?");
	bad(SHORTEST "policy: strict\npolicy: strict\n",
	    "kekd.yaml:4:1: duplicate field \"policy\"");
}

TEST(paths)
{
	char text[256 + sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct config *c;
	int max = (int)sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	bad(SHORTEST "socket: run/a\n", "kekd.yaml:3:9: \"socket\" must be an absolute path");
	bad(SHORTEST "socket: ''\n", "kekd.yaml:3:9: \"socket\" must be an absolute path");
	bad(SHORTEST "socket: '@a'\n",
	    "kekd.yaml:3:9: \"socket\" must be a path, not an abstract socket (which has no "
	    "permissions)");
	bad(SHORTEST "socket: /run/../a\n",
	    "kekd.yaml:3:9: \"socket\" must not contain \".\" or \"..\"");
	bad(SHORTEST "keyStore: /run/.\n",
	    "kekd.yaml:3:11: \"keyStore\" must not contain \".\" or \"..\"");
	bad(SHORTEST "keyStore: /run/\n",
	    "kekd.yaml:3:11: \"keyStore\" must not end in \"/\" or contain \"//\"");
	bad(SHORTEST "keyStore: /run//a\n",
	    "kekd.yaml:3:11: \"keyStore\" must not end in \"/\" or contain \"//\"");
	bad(SHORTEST "encryptionConfig: \"/a\\nb\"\n",
	    "kekd.yaml:3:19: \"encryptionConfig\" must not contain control characters");
	bad(SHORTEST "encryptionConfig: 1\n",
	    "kekd.yaml:3:19: \"encryptionConfig\" must be a string, not a number (quote it)");
	snprintf(text, sizeof(text), SHORTEST "socket: /%0*d\n", max - 1, 0);
	c = good(text);
	EXPECT_EQ((size_t)max, strlen(c->sockets.v[0]));
	config_free(c);
	snprintf(text, sizeof(text), SHORTEST "socket: /%0*d\n", max, 0);
	bad(text, "kekd.yaml:3:9: \"socket\" is longer than 107 bytes");
	snprintf(text, sizeof(text), SHORTEST "admin: {socket: /%0*d}\n", max, 0);
	bad(text, "kekd.yaml:3:17: \"socket\" is longer than 107 bytes");
	c = good(SHORTEST "keyStore: /a/..b/.c\n");
	config_free(c);
}

TEST(sockets)
{
	bad(SHORTEST "socket: /a\nsockets: [/b]\n",
	    "kekd.yaml:4:1: \"socket\" and \"sockets\" exclude each other");
	bad(SHORTEST "sockets: []\n", "kekd.yaml:3:10: \"sockets\" must not be empty");
	bad(SHORTEST "sockets: /a\n", "kekd.yaml:3:10: \"sockets\" must be a list, not a string");
	bad(SHORTEST "sockets: [/a, /b, /a]\n", "kekd.yaml:3:19: two sockets have the same path");
	bad(SHORTEST "sockets: [/a, /b]\nadmin: {socket: /b}\n",
	    "kekd.yaml:4:17: the admin socket needs a path of its own");
	bad(SHORTEST "socket: /run/kekd/admin.sock\n",
	    "kekd.yaml:3:9: the admin socket needs a path of its own");
	bad(SHORTEST "admin: {socket: /run/kekd/kms.sock}\n",
	    "kekd.yaml:3:17: the admin socket needs a path of its own");
}

TEST(socket_modes)
{
	static const char *const wrong[] = {
		"'660x'", "'06600'", "'60'", "''", "'0680'", "'-600'"
	};
	char text[128];

	bad(SHORTEST "socketMode: 0600\n",
	    "kekd.yaml:3:13: \"socketMode\" must be a string, not a number (quote it)");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(text, sizeof(text), SHORTEST "socketMode: %s\n", wrong[i]);
		bad(text, "kekd.yaml:3:13: \"socketMode\" must be an octal mode like \"0660\"");
	}
	bad(SHORTEST "socketMode: '0700'\n",
	    "kekd.yaml:3:13: \"socketMode\" must be made of read and write, with both "
	    "for the owner");
	bad(SHORTEST "socketMode: '0060'\n",
	    "kekd.yaml:3:13: \"socketMode\" must be made of read and write, with both "
	    "for the owner");
	bad(SHORTEST "socketMode: '4600'\n",
	    "kekd.yaml:3:13: \"socketMode\" must be made of read and write, with both "
	    "for the owner");
}

TEST(ids)
{
	bad(SHORTEST "socketGroup: true\n",
	    "kekd.yaml:3:14: \"socketGroup\" must be a name or a whole number, not a boolean");
	bad(SHORTEST "socketGroup: ''\n",
	    "kekd.yaml:3:14: \"socketGroup\" is no name of a user or group");
	bad(SHORTEST "socketGroup: 'a:b'\n",
	    "kekd.yaml:3:14: \"socketGroup\" is no name of a user or group");
	bad(SHORTEST "socketGroup: -1\n",
	    "kekd.yaml:3:14: \"socketGroup\" must be between 0 and 4294967294");
	bad(SHORTEST "socketGroup: 4294967295\n",
	    "kekd.yaml:3:14: \"socketGroup\" must be between 0 and 4294967294");
	bad(SHORTEST "server: {user: 0}\n", "kekd.yaml:3:16: \"user\" must not be root");
	bad("allowedPeers: {uids: 0}\nrootKey: {source: unseal}\n",
	    "kekd.yaml:1:22: \"uids\" must be a list, not a number");
	bad("allowedPeers: {uids: [0, 1.5]}\nrootKey: {source: unseal}\n",
	    "kekd.yaml:1:26: \"uids\" must be a name or a whole number, not a number");
}

TEST(root_keys)
{
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: file}\n",
	    "kekd.yaml:2:19: \"source\" must be ephemeral, command, unseal or trusted");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: command}\n",
	    "kekd.yaml:2:10: source: command needs a \"command\" to run");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: command, command: []}\n",
	    "kekd.yaml:2:37: source: command needs a \"command\" to run");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: command, command: cat}\n",
	    "kekd.yaml:2:37: \"command\" must be a list, not a string");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: command, command: [cat]}\n",
	    "kekd.yaml:2:38: \"command\" must be an absolute path");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: command, command: [/cat, 1]}\n",
	    "kekd.yaml:2:44: \"command\" must be a string, not a number (quote it)");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: unseal, command: [/cat]}\n",
	    "kekd.yaml:2:27: \"command\" is for source: command only");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: trusted}\n",
	    "kekd.yaml:2:10: source: trusted needs a \"blob\", the file of the sealed root key");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: unseal, blob: /b}\n",
	    "kekd.yaml:2:10: \"blob\" is for source: trusted only");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: trusted, blob: b}\n",
	    "kekd.yaml:2:34: \"blob\" must be an absolute path");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: trusted, blob: /b}\ncustody: value\n",
	    "kekd.yaml:3:10: custody value needs the bytes of the root key, and with \"source: "
	    "trusted\" no process has them");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: unseal}\nrotation: {auto: maybe}\n",
	    "kekd.yaml:3:18: \"auto\" must be a boolean, not a string");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: unseal, timeout: 999ms}\n",
	    "kekd.yaml:2:36: \"timeout\" must be between 1000 and 600000 ms");
	bad("allowedPeers: {uids: [0]}\nrootKey: {source: unseal, timeout: 10}\n",
	    "kekd.yaml:2:36: \"timeout\" must be a string, not a number (quote it)");
}

/* It stands in texts, in labels of metrics and on command lines. */
TEST(node)
{
	static const char *const wrong[] = { "''",  "-a",  "a b", "a,b",
					     "a/b", "a:b", "a_b", "\303\244" };
	const int max = CONFIG_NODE_NAME_MAX;
	char text[1024];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(text, sizeof(text), SHORTEST "node: %s\n", wrong[i]);
		bad(text, "kekd.yaml:3:7: \"node\" is 1 to 63 letters, digits, '.' and '-', and "
			  "begins with no '-'");
	}
	bad(SHORTEST "node: 1\n",
	    "kekd.yaml:3:7: \"node\" must be a string, not a number (quote it)");
	snprintf(text, sizeof(text), SHORTEST "node: a%0*d\n", max - 1, 0);
	config_free(good(text));
	snprintf(text, sizeof(text), SHORTEST "node: a%0*d\n", max, 0);
	bad(text, "kekd.yaml:3:7: \"node\" is 1 to 63 letters, digits, '.' and '-', and begins "
		  "with no '-'");
}

TEST(kept_retired)
{
	bad(SHORTEST "rotation: {keepRetired: 1}\n",
	    "kekd.yaml:3:25: \"keepRetired\" must be a string, not a number (quote it)");
	config_free(good(SHORTEST "rotation: {keepRetired: 876000h}\n"));
}

TEST(limits)
{
	static const struct {
		const char *name;
		unsigned long long min, max;
	} t[] = {
		{ "connections", 1, 4096 },
		{ "streams", 1, 16384 },
		{ "inFlight", 1, 65536 },
		{ "messageBytes", 36864, 65536 },
		{ "lockedMemoryBytes", 1048576, 1073741824 },
	};
	char text[128], message[128];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		snprintf(message, sizeof(message),
			 "kekd.yaml:3:%zu: \"%s\" must be between %llu and %llu",
			 strlen(t[i].name) + 12, t[i].name, t[i].min, t[i].max);
		snprintf(text, sizeof(text), SHORTEST "limits: {%s: %llu}\n", t[i].name,
			 t[i].min - 1);
		bad(text, message);
		snprintf(text, sizeof(text), SHORTEST "limits: {%s: %llu}\n", t[i].name,
			 t[i].max + 1);
		bad(text, message);
		snprintf(text, sizeof(text), SHORTEST "limits: {%s: %llu}\n", t[i].name, t[i].min);
		config_free(good(text));
		snprintf(text, sizeof(text), SHORTEST "limits: {%s: %llu}\n", t[i].name, t[i].max);
		config_free(good(text));
	}
}

TEST(choices)
{
	bad(SHORTEST "backend: gpu\n", "kekd.yaml:3:10: \"backend\" must be kernel");
	bad(SHORTEST "ring: uring\n", "kekd.yaml:3:7: \"ring\" must be auto, io_uring or epoll");
	bad(SHORTEST "policy: lax\n", "kekd.yaml:3:9: \"policy\" must be strict or standard");
	bad(SHORTEST "policy:\n", "kekd.yaml:3:8: \"policy\" must be a string, not nothing");
}

TEST(workers)
{
	struct config *c = good(SHORTEST "workers: 16\n");

	EXPECT_EQ(16, c->workers);
	config_free(c);
	c = good(SHORTEST);
	EXPECT_EQ(1, c->workers);
	config_free(c);
	bad(SHORTEST "workers: 17\n", "kekd.yaml:3:10: \"workers\" must be between 1 and 16");
	bad(SHORTEST "workers: 0\n", "kekd.yaml:3:10: \"workers\" must be between 1 and 16");
	bad(SHORTEST "workers: many\n",
	    "kekd.yaml:3:10: \"workers\" must be an integer, not a string");
}

TEST(plaintext_writes)
{
	struct config *c = good(SHORTEST "allowPlaintextWrites: true\n");

	EXPECT_TRUE(c->plaintext_writes);
	config_free(c);
	c = good(SHORTEST);
	EXPECT_FALSE(c->plaintext_writes);
	config_free(c);
	bad(SHORTEST "allowPlaintextWrites: \"yes\"\n",
	    "kekd.yaml:3:23: \"allowPlaintextWrites\" must be a boolean, not a string");
}

TEST(transform)
{
	struct config *c = good(SHORTEST);

	EXPECT_NULL(c->transform.socket);
	config_free(c);
	c = good(SHORTEST
		 "transform: {socket: /run/t, allowedPeers: {uids: [root], gids: [7, 8]}}\n");
	EXPECT_STREQ("/run/t", c->transform.socket);
	EXPECT_EQ(1U, c->transform.uids.count);
	EXPECT_FALSE(c->transform.uids.v[0].resolved);
	EXPECT_EQ(2U, c->transform.gids.count);
	EXPECT_EQ(1U, c->peer_uids.count);
	config_free(c);
	bad(SHORTEST "transform: {socket: /run/t}\n",
	    "kekd.yaml:3:12: missing field \"allowedPeers\"");
	bad(SHORTEST "transform: {allowedPeers: {uids: [0]}}\n",
	    "kekd.yaml:3:12: missing field \"socket\"");
	bad(SHORTEST "transform: {socket: /run/t, allowedPeers: {}}\n",
	    "kekd.yaml:3:29: \"allowedPeers\" must name at least one");
	bad(SHORTEST "transform: {socket: /run/kekd/kms.sock, allowedPeers: {uids: [0]}}\n",
	    "kekd.yaml:3:21: the transform socket needs a path of its own");
	bad(SHORTEST "transform: {socket: /run/kekd/admin.sock, allowedPeers: {uids: [0]}}\n",
	    "kekd.yaml:3:21: the transform socket needs a path of its own");
	bad(SHORTEST "transform: {socket: \"@t\", allowedPeers: {uids: [0]}}\n",
	    "kekd.yaml:3:21: \"socket\" must be a path, not an abstract socket (which has no "
	    "permissions)");
}

TEST(resolve)
{
	struct yaml_error err = { 0 };
	struct config *c = good("allowedPeers: {uids: [root, 5], gids: [daemon]}\n"
				"rootKey: {source: unseal}\n"
				"socketGroup: root\n"
				"admin: {gid: daemon}\n"
				"server: {user: nobody}\n");

	ASSERT_OK(config_resolve(c, &err));
	EXPECT_TRUE(c->peer_uids.v[0].resolved);
	EXPECT_EQ(0, c->peer_uids.v[0].id);
	EXPECT_EQ(5, c->peer_uids.v[1].id);
	EXPECT_EQ(1, c->peer_gids.v[0].id);
	EXPECT_TRUE(c->socket_group.resolved);
	EXPECT_EQ(0, c->socket_group.id);
	EXPECT_EQ(1, c->admin_gid.id);
	EXPECT_EQ(65534, c->server_user.id);
	EXPECT_EQ(65534, c->server_gid);
	config_free(c);
}

TEST(resolve_refuses)
{
	static const struct {
		const char *text, *message;
	} t[] = {
		{ "server: {user: no-such-user}\n",
		  "kekd.yaml:3:16: no such user: \"no-such-user\"" },
		{ "server: {user: root}\n", "kekd.yaml:3:16: the server's user must not be root" },
		{ "server: {user: 7}\nsocketGroup: no-such\n",
		  "kekd.yaml:4:14: no such group: \"no-such\"" },
		{ "server: {user: 7}\nadmin: {gid: no-such}\n",
		  "kekd.yaml:4:14: no such group: \"no-such\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct yaml_error err = { 0 };
		struct config *c;
		char text[256];

		snprintf(text, sizeof(text), SHORTEST "%s", t[i].text);
		c = good(text);
		EXPECT_ERR(-EINVAL, config_resolve(c, &err));
		EXPECT_STREQ(t[i].message, err.text);
		config_free(c);
	}
}

/* A user without an entry has a primary group of its own number. */
TEST(resolve_takes_a_bare_number)
{
	struct yaml_error err = { 0 };
	struct config *c = good(SHORTEST "server: {user: 3999999999}\n");

	ASSERT_OK(config_resolve(c, &err));
	EXPECT_EQ(3999999999, c->server_user.id);
	EXPECT_EQ(3999999999, c->server_gid);
	config_free(c);
}

TEST_HARNESS_MAIN

TEST(metrics)
{
	struct config *c = good(SHORTEST "metrics: {listen: \"127.0.0.1:9740\"}\n");

	EXPECT_STREQ("127.0.0.1:9740", c->metrics.listen);
	config_free(c);
	c = good(SHORTEST "metrics: {listen: /run/m}\n");
	EXPECT_STREQ("/run/m", c->metrics.listen);
	config_free(c);
	bad(SHORTEST "metrics: {}\n", "kekd.yaml:3:10: missing field \"listen\"");
	bad(SHORTEST "metrics: {listen: \"0.0.0.0:9740\"}\n",
	    "kekd.yaml:3:19: \"listen\" must be a path or a loopback address with a port, like "
	    "127.0.0.1:9740 or [::1]:9740");
	bad(SHORTEST "metrics: {listen: /run/kekd/admin.sock}\n",
	    "kekd.yaml:3:1: \"metrics\" needs a path of its own");
}

TEST(cluster)
{
	static const char *const endpoints[] = {
		"https://etcd:2379",       "https://10.0.0.1",      "https://10.0.0.1:0",
		"https://10.0.0.1:2379/",  "http://10.0.0.1:2379",  "10.0.0.1:2379",
		"https://user@10.0.0.1:1", "unix:///run/etcd.sock", "https://[fd00::1]",
	};
	struct config *c = good(SHORTEST);

	EXPECT_EQ(0, c->cluster.endpoints.count);
	config_free(c);
	c = good(SHORTEST
		 "cluster: {endpoints: [\"https://10.0.0.1:2379\", \"https://[fd00::1]:2379\"], "
		 "ca: /a/ca, cert: /a/c, key: /a/k}\n");
	EXPECT_EQ(2, c->cluster.endpoints.count);
	EXPECT_STREQ("https://[fd00::1]:2379", c->cluster.endpoints.v[1]);
	EXPECT_STREQ("/a/k", c->cluster.key);
	EXPECT_STREQ("/kekd", c->cluster.prefix);
	config_free(c);
	c = good(SHORTEST
		 "cluster: {endpoints: [\"http://127.0.0.1:2379\"], prefix: /other/kekd}\n");
	EXPECT_STREQ("/other/kekd", c->cluster.prefix);
	config_free(c);
	bad(SHORTEST "cluster: {}\n", "kekd.yaml:3:10: missing field \"endpoints\"");
	bad(SHORTEST "cluster: {endpoints: []}\n",
	    "kekd.yaml:3:22: \"endpoints\" must have 1 to 16 elements");
	bad(SHORTEST "cluster: {endpoints: [\"https://10.0.0.1:2379\"]}\n",
	    "kekd.yaml:3:1: \"cluster\" needs a \"ca\" for https endpoints");
	bad(SHORTEST "cluster: {endpoints: [\"https://10.0.0.1:2379\"], ca: /ca, key: /k}\n",
	    "kekd.yaml:3:1: \"cert\" and \"key\" of \"cluster\" go together");
	bad(SHORTEST "cluster: {endpoints: [\"http://127.0.0.1:1\"], prefix: /kekd/}\n",
	    "kekd.yaml:3:54: \"prefix\" must not end in \"/\" or contain \"//\"");
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		char text[256];

		snprintf(text, sizeof(text), SHORTEST "cluster: {ca: /ca, endpoints: [\"%s\"]}\n",
			 endpoints[i]);
		bad(text,
		    "kekd.yaml:3:32: an endpoint is https://ADDRESS:PORT, an address and no name, "
		    "like https://10.0.0.1:2379 or https://[fd00::1]:2379; http:// is for loopback "
		    "addresses only");
	}
}

TEST(other_etcds)
{
	struct config *c = good(SHORTEST);

	EXPECT_FALSE(c->others.said);
	config_free(c);
	c = good(SHORTEST "otherEtcds: []\n");
	EXPECT_TRUE(c->others.said);
	EXPECT_EQ(0, c->others.count);
	config_free(c);
	c = good(SHORTEST "otherEtcds:\n"
			  "- {endpoints: [\"https://10.0.0.1:2379\"], ca: /a/ca}\n"
			  "- {endpoints: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]}\n");
	EXPECT_EQ(2, c->others.count);
	EXPECT_STREQ("/a/ca", c->others.v[0].ca);
	EXPECT_STREQ("http://127.0.0.1:2", c->others.v[1].endpoints.v[1]);
	EXPECT_EQ(0, c->cluster.endpoints.count);
	config_free(c);
	bad(SHORTEST "otherEtcds: {}\n",
	    "kekd.yaml:3:13: \"otherEtcds\" must be a list, not a mapping");
	bad(SHORTEST "otherEtcds: [{}]\n", "kekd.yaml:3:14: missing field \"endpoints\"");
	bad(SHORTEST "otherEtcds: [x]\n", "kekd.yaml:3:14: expected a mapping, not a string");
	bad(SHORTEST "otherEtcds: [{endpoints: [\"http://127.0.0.1:1\"], prefix: /x}]\n",
	    "kekd.yaml:3:50: unknown field \"prefix\"");
	bad(SHORTEST "otherEtcds: [{endpoints: [\"http://127.0.0.1:1\"]}, {endpoints: "
		     "[\"https://10.0.0.1:1\"]}]\n",
	    "kekd.yaml:3:51: \"otherEtcds\" needs a \"ca\" for https endpoints");
	bad(SHORTEST "otherEtcds: [1, 2, 3, 4, 5, 6, 7, 8, 9]\n",
	    "kekd.yaml:3:13: \"otherEtcds\" has more than 8 elements");
}

TEST(audit)
{
	struct config *c = good(SHORTEST "audit: {to: journal, onFailure: drop}\n");

	EXPECT_TRUE(c->audit.journal);
	EXPECT_EQ(CONFIG_FAILURE_DROP, c->audit.failure);
	config_free(c);
	c = good(SHORTEST "audit: {to: /var/log/kekd/audit.log, onFailure: block}\n");
	EXPECT_STREQ("/var/log/kekd/audit.log", c->audit.file);
	EXPECT_FALSE(c->audit.journal);
	EXPECT_EQ(CONFIG_FAILURE_BLOCK, c->audit.failure);
	config_free(c);
	bad(SHORTEST "audit: {to: journal}\n", "kekd.yaml:3:8: missing field \"onFailure\"");
	bad(SHORTEST "audit: {to: stderr, onFailure: drop}\n",
	    "kekd.yaml:3:13: \"to\" must be an absolute path");
}
