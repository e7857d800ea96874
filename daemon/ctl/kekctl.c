/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl: the operator's command line. Key commands go to the keeper's admin socket, never through
 * the server; encrypt and decrypt are an ordinary KMS client.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

static const struct ctl_command commands[] = {
	{ "status", "", "how the daemon is", ctl_status },
	{ "key list", "", "keys, their states and ids", ctl_key_list },
	{ "key create", "NAME", "make a key inside the kernel and store it sealed",
	  ctl_key_create },
	{ "key import", "FILE", "take the secrets of an EncryptionConfiguration into the kernel",
	  ctl_key_import },
	{ "key show", "KEY", "all about one key", ctl_key_show },
	{ "key stage", "NAME", "make a key that can only decrypt yet", ctl_key_stage },
	{ "key activate", "KEY", "encrypt with it from now on", ctl_key_activate },
	{ "key rotate", "NAME", "stage and activate a new key, on this node only", ctl_key_rotate },
	{ "key retire", "KEY", "open no values any more; can be undone", ctl_key_retire },
	{ "key reopen", "KEY", "undo retire", ctl_key_reopen },
	{ "key destroy", "KEY", "forget a retired key for ever", ctl_key_destroy },
	{ "key accept", "", "vouch for a key store that was changed from outside", ctl_key_accept },
	{ "key reload", "", "load keys again that were taken away in the kernel", ctl_key_reload },
	{ "rotate", "NAME", "a new key on all nodes of --peers, in a safe order", ctl_rotate },
	{ "backup", "DIR", "save all keys, sealed", ctl_backup },
	{ "restore", "DIR", "give the daemon the keys of a backup", ctl_restore },
	{ "unseal", "< PIPE", "give the daemon its root key", ctl_unseal },
	{ "key verify", "", "prove that every stored key opens", ctl_key_verify },
	{ "encrypt", "< DATA", "wrap standard input by KMS v2; prints JSON", ctl_encrypt },
	{ "decrypt", "< JSON", "unwrap what encrypt printed", ctl_decrypt },
	{ "transform to-storage", "< VALUE", "encrypt a value as it is stored in etcd; --path",
	  ctl_transform_to },
	{ "transform from-storage", "< VALUE", "decrypt a value of etcd; --path",
	  ctl_transform_from },
	{ "metrics", "", "what is counted, in Prometheus' text format", ctl_metrics },
	{ "doctor", "[ROOT]", "look at kernel, host and daemon; what is wrong and the cure",
	  ctl_doctor },
	{ "config check", "[FILE]", "check kekd's configuration files", ctl_config_check },
	{ "scan", "[FILE]", "what the values of a dump of etcd are encrypted with", ctl_scan },
	{ "open", "[FILE]", "decrypt a dump of etcd, or one value of it", ctl_open },
	{ "config schema", "", "JSON Schema of kekd.yaml, for editors", ctl_config_schema },
	{ "top", "[TIMES]", "what the daemon does now, again and again", ctl_top },
	{ "config apiserver", "[RESOURCE]...",
	  "print the EncryptionConfiguration for kube-apiserver", ctl_config_apiserver },
};

static void usage(FILE *to)
{
	fputs("usage: kekctl [--admin SOCKET] [--socket SOCKET] [--json] COMMAND\n\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-22s %-14s %s\n", commands[i].words, commands[i].args,
			commands[i].help);
	fputs("\n"
	      "  --admin SOCKET   the keeper's socket (default " CTL_ADMIN_DEFAULT ")\n"
	      "  --socket SOCKET  the KMS socket (default: what the keeper says)\n"
	      "  --json           output for programs\n"
	      "  --dry-run        key commands: say what would be done, do nothing\n"
	      "  --force          key retire: although the key was used of late\n"
	      "  --yes-destroy NAME  key destroy: the key's name, typed once more\n"
	      "  --peers SOCKET,…    rotate: the admin sockets of all nodes\n"
	      "  --output FILE    key import: where the configuration goes (FILE.kekd.yaml);\n"
	      "                   open: where the plaintext goes\n"
	      "  --path KEY       transform, open: the value's key in etcd, /registry/...\n"
	      "  --resource NAME  transform: which resource, when there are several items;\n"
	      "                   scan: which one has to be encrypted (secrets)\n"
	      "  --config FILE    scan: the EncryptionConfiguration that says what is current\n"
	      "  --verify         scan: have every value opened\n"
	      "  --uses KEY       scan: does any value need this key?\n"
	      "  --proof FILE     scan: write down that none does\n"
	      "  --offline        scan: do not ask the daemon which keys it has\n"
	      "  --prefix PATH    scan, open: what keys of etcd begin with (/registry/)\n"
	      "  --decode         open: show Secrets and ConfigMaps, their values masked\n"
	      "  --reveal         open: do not mask them\n"
	      "  --version, --help\n",
	      to);
}

/* For the shells' completion. */
static void list_commands(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		puts(commands[i].words);
}

enum {
	OPT_ADMIN = 256,
	OPT_SOCKET,
	OPT_JSON,
	OPT_DRY_RUN,
	OPT_OUTPUT,
	OPT_PATH,
	OPT_RESOURCE,
	OPT_FORCE,
	OPT_YES_DESTROY,
	OPT_PEERS,
	OPT_COMMANDS,
	OPT_CONFIG,
	OPT_VERIFY,
	OPT_USES,
	OPT_PROOF,
	OPT_OFFLINE,
	OPT_PREFIX,
	OPT_DECODE,
	OPT_REVEAL,
};

static const struct option options[] = {
	{ "admin", required_argument, NULL, OPT_ADMIN },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "path", required_argument, NULL, OPT_PATH },
	{ "resource", required_argument, NULL, OPT_RESOURCE },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "peers", required_argument, NULL, OPT_PEERS },
	{ "yes-destroy", required_argument, NULL, OPT_YES_DESTROY },
	{ "commands", no_argument, NULL, OPT_COMMANDS },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "uses", required_argument, NULL, OPT_USES },
	{ "proof", required_argument, NULL, OPT_PROOF },
	{ "offline", no_argument, NULL, OPT_OFFLINE },
	{ "prefix", required_argument, NULL, OPT_PREFIX },
	{ "decode", no_argument, NULL, OPT_DECODE },
	{ "reveal", no_argument, NULL, OPT_REVEAL },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* How many of @argv's words a command's name takes, or 0 if they are not its name. */
static int words_match(const char *words, int argc, char **argv)
{
	int n = 0;

	while (*words) {
		size_t len = strcspn(words, " ");

		if (n >= argc || strlen(argv[n]) != len || strncmp(argv[n], words, len) != 0)
			return 0;
		n++;
		words += len;
		words += *words == ' ';
	}
	return n;
}

static int run(const struct ctl *ctl, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		int n = words_match(commands[i].words, argc, argv);

		if (n > 0)
			return commands[i].run(ctl, argc - n, argv + n);
	}
	if (argc == 0) {
		usage(stderr);
		return 2;
	}
	return ctl_usage("unknown command \"%s\"", argv[0]);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .admin = CTL_ADMIN_DEFAULT };
	int c;

	log_init("kekctl", LOG_LEVEL_WARNING);
	while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (c) {
		case OPT_ADMIN:
			ctl.admin = optarg;
			break;
		case OPT_SOCKET:
			ctl.socket = optarg;
			break;
		case OPT_JSON:
			ctl.json = true;
			break;
		case OPT_DRY_RUN:
			ctl.dry_run = true;
			break;
		case OPT_OUTPUT:
			ctl.output = optarg;
			break;
		case OPT_PATH:
			ctl.path = optarg;
			break;
		case OPT_RESOURCE:
			ctl.resource = optarg;
			break;
		case OPT_FORCE:
			ctl.force = true;
			break;
		case OPT_PEERS:
			ctl.peers = optarg;
			break;
		case OPT_YES_DESTROY:
			ctl.yes_destroy = optarg;
			break;
		case OPT_COMMANDS:
			list_commands();
			return 0;
		case OPT_CONFIG:
			ctl.config = optarg;
			break;
		case OPT_VERIFY:
			ctl.verify = true;
			break;
		case OPT_USES:
			ctl.uses = optarg;
			break;
		case OPT_PROOF:
			ctl.proof = optarg;
			break;
		case OPT_OFFLINE:
			ctl.offline = true;
			break;
		case OPT_PREFIX:
			ctl.prefix = optarg;
			break;
		case OPT_DECODE:
			ctl.decode = true;
			break;
		case OPT_REVEAL:
			ctl.reveal = true;
			break;
		case 'V':
			puts("kekctl " KEKD_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			return 2;
		}
	}
	return run(&ctl, argc - optind, argv + optind);
}
