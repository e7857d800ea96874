/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl: the operator's command line. Key commands go to the keeper's admin socket, never through
 * the server; encrypt and decrypt are an ordinary KMS client.
 *
 * A command is a row of `commands`, with its function; an option is a row of `options`, with its
 * member of struct ctl, and is named in the rows of the commands that have it. --help, the
 * completion of the shells and what is refused follow from that, and a test compares kekctl(1).
 */
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/nearest.h"
#include "daemon/ctl/ctl.h"

static const struct ctl_command commands[] = {
	{ OUT_JSON, "status", "", "", "state of the daemon, its keys and its servers", ctl_status },
	{ OUT_JSON, "doctor", "[ROOT]", "",
	  "check kernel, host and daemon; each finding with its cure", ctl_doctor },
	{ OUT_JSON, "init", "[ROOT]",
	  "dry-run answers distribution server root-key custody resource shares threshold as",
	  "write kekd's configuration and kube-apiserver's, and say what to type next", ctl_init },
	{ OUT_JSON, "probe", "[FILE]", "as pid",
	  "call the KMS plugins that FILE names as kube-apiserver would", ctl_probe },
	{ OUT_DATA, "metrics", "", "", "print the daemon's metrics in Prometheus' text format",
	  ctl_metrics },
	{ OUT_JSON, "top", "[TIMES]", "", "show rates, keys and refusals every two seconds",
	  ctl_top },
	{ OUT_TEXT, "config check", "[FILE]", "", "check kekd's configuration files",
	  ctl_config_check },
	{ OUT_JSON, "config units", "[FILE] [ROOT]", "dry-run",
	  "write the drop-ins that make systemd's units agree with FILE", ctl_config_units },
	{ OUT_JSON, "config schema", "", "", "JSON Schema of kekd.yaml, for editors",
	  ctl_config_schema },
	{ OUT_DATA, "config apiserver", "[RESOURCE...]", "",
	  "print the EncryptionConfiguration for kube-apiserver", ctl_config_apiserver },
	{ OUT_TEXT, "reload", "", "", "make the daemon read its configuration again", ctl_reload },
	{ OUT_TEXT, "unseal", "< PIPE", "fingerprint new retry", "give the daemon its root key",
	  ctl_unseal },
	{ OUT_DATA, "root create", "[COMMAND...]", "shares threshold share-fds tpm",
	  "make a root key and its shares; COMMAND, behind --, seals it", ctl_root_create },
	{ OUT_DATA, "root restore", "[COMMAND...]", "tpm",
	  "combine shares; COMMAND, behind --, seals the root key they give", ctl_root_restore },
	{ OUT_TEXT, "root verify", "[FILE]", "",
	  "check whether shares open the keyset, or a backup", ctl_root_verify },
	{ OUT_DATA, "root seal", "[COMMAND...]", "shares threshold share-fds tpm",
	  "take a root key from a pipe and seal it, or split it into shares", ctl_root_seal },
	{ OUT_TEXT, "root next", "< PIPE", "tpm",
	  "give this node the next root key, which `root rotate` changes to", ctl_root_next },
	{ OUT_TEXT, "root rotate", "", "root-fds abort tpm",
	  "seal every key under another root key", ctl_root_rotate },
	{ OUT_JSON, "key list", "", "", "list keys with their states and ids", ctl_key_list },
	{ OUT_JSON, "key show", "KEY", "", "show everything about one key", ctl_key_show },
	{ OUT_JSON, "key create", "NAME", "dry-run portable",
	  "make a key inside the kernel and store it sealed", ctl_key_create },
	{ OUT_TEXT, "key import", "FILE", "dry-run output",
	  "take the secrets of an EncryptionConfiguration into the kernel", ctl_key_import },
	{ OUT_JSON, "key stage", "NAME", "dry-run portable",
	  "make a key that decrypts, and does not encrypt until activated", ctl_key_stage },
	{ OUT_JSON, "key activate", "KEY", "dry-run", "encrypt with this key from now on",
	  ctl_key_activate },
	{ OUT_JSON, "key rotate", "NAME", "dry-run abort portable",
	  "stage a new key, and activate it", ctl_key_rotate },
	{ OUT_JSON, "key mark", "KEY", "dry-run",
	  "record in the keyset that no member encrypts with this key any more", ctl_key_mark },
	{ OUT_JSON, "key retire", "KEY", "dry-run force proof",
	  "stop decrypting with this key; `key reopen` undoes it", ctl_key_retire },
	{ OUT_JSON, "key reopen", "KEY", "dry-run", "decrypt with a retired key again",
	  ctl_key_reopen },
	{ OUT_JSON, "key destroy", "KEY", "dry-run force yes-destroy proof",
	  "delete a retired key for ever", ctl_key_destroy },
	{ OUT_JSON, "key reload", "", "dry-run",
	  "load keys again that the kernel's keyring has lost", ctl_key_reload },
	{ OUT_JSON, "key verify", "", "", "check that every stored key opens under the root key",
	  ctl_key_verify },
	{ OUT_JSON, "keyset show", "", "", "list the members and what each has acknowledged",
	  ctl_keyset_show },
	{ OUT_DATA, "keyset export", "> TEXT", "",
	  "print the keyset and this node's acknowledgement", ctl_keyset_export },
	{ OUT_DATA, "keyset apply", "< TEXT", "",
	  "adopt the keyset that export printed; print an acknowledgement", ctl_keyset_apply },
	{ OUT_TEXT, "keyset ack", "< TEXT", "join", "read the acknowledgement that apply printed",
	  ctl_keyset_ack },
	{ OUT_TEXT, "keyset take", "", "", "make this node the one that changes the keyset",
	  ctl_keyset_take },
	{ OUT_TEXT, "keyset merge", "< TEXT", "dry-run",
	  "join two keysets that were changed apart into one", ctl_keyset_merge },
	{ OUT_TEXT, "keyset remove", "NODE,...", "dead", "remove members", ctl_keyset_remove },
	{ OUT_JSON, "cluster status", "", "watch",
	  "list members, what a change waits for, and since when", ctl_cluster_status },
	{ OUT_TEXT, "cluster create", "", "",
	  "put this node's keyset into etcd, which carries it from then on", ctl_cluster_create },
	{ OUT_TEXT, "cluster join", "", "merge discard",
	  "adopt etcd's keyset on a node that has one of its own", ctl_cluster_join },
	{ OUT_TEXT, "cluster remove", "NODE,...", "dead", "remove members", ctl_cluster_remove },
	{ OUT_TEXT, "cluster serve", "", "unconfirmed",
	  "let this node encrypt although it cannot read etcd", ctl_cluster_serve },
	{ OUT_TEXT, "backup verify", "FILE", "",
	  "check whether a backup opens under this daemon's root key", ctl_backup_verify },
	{ OUT_TEXT, "backup", "FILE", "", "save the sealed keyset to FILE", ctl_backup },
	{ OUT_TEXT, "restore", "FILE", "dry-run alone", "restore keys from a backup", ctl_restore },
	{ OUT_JSON, "scan", "[FILE]",
	  "config resource verify uses proof offline prefix etcd endpoints cacert cert key "
	  "folder textfile",
	  "say which keys the values in etcd, or in a dump of it, are encrypted with", ctl_scan },
	{ OUT_DATA, "open", "[FILE]", "path output prefix resource decode reveal salvage",
	  "decrypt a dump of etcd, or one value of it", ctl_open },
	{ OUT_JSON, "reencrypt", "RESOURCE...",
	  "dry-run kubeconfig context page rate state migration",
	  "make a cluster store objects again, with the present key", ctl_reencrypt },
	{ OUT_JSON, "rotate", "NAME [FILE]",
	  "complete now wait resource portable kubeconfig context page rate state endpoints cacert "
	  "cert key",
	  "do every step of a rotation that can be done now", ctl_rotate },
	{ OUT_JSON, "encrypt", "< DATA", "", "encrypt standard input by KMS v2; prints JSON",
	  ctl_encrypt },
	{ OUT_DATA, "decrypt", "< JSON", "", "decrypt what encrypt printed", ctl_decrypt },
	{ OUT_DATA, "transform to-storage", "< VALUE", "path resource", "encrypt a value for etcd",
	  ctl_transform_to },
	{ OUT_DATA, "transform from-storage", "< VALUE", "path resource",
	  "decrypt a value from etcd", ctl_transform_from },
};

/* What an option sets: a text or, without an argument, a flag of struct ctl. */
struct ctl_option {
	const char *name, *arg;
	size_t field;
	bool every; /* it goes with every command */
	const char *help;
};

#define TEXT(NAME, ARG, FIELD, HELP)                                \
	{                                                           \
		NAME, ARG, offsetof(struct ctl, FIELD), false, HELP \
	}
#define FLAG(NAME, FIELD, HELP)                                      \
	{                                                            \
		NAME, NULL, offsetof(struct ctl, FIELD), false, HELP \
	}
#define EVERY_TEXT(NAME, ARG, FIELD, HELP)                         \
	{                                                          \
		NAME, ARG, offsetof(struct ctl, FIELD), true, HELP \
	}
#define EVERY_FLAG(NAME, FIELD, HELP)                               \
	{                                                           \
		NAME, NULL, offsetof(struct ctl, FIELD), true, HELP \
	}

static const struct ctl_option options[] = {
	EVERY_TEXT("admin", "SOCKET", admin, "the keeper's socket (default " CTL_ADMIN_DEFAULT ")"),
	EVERY_TEXT("socket", "SOCKET", socket, "the KMS socket (default: asked of the keeper)"),
	EVERY_TEXT("timeout", "SECONDS", timeout,
		   "how long to wait for the keeper's answer (10; 0: for ever)"),
	EVERY_FLAG("json", json, "print JSON, errors included"),
	FLAG("dry-run", dry_run, "print what would be done, and do nothing"),
	FLAG("force", force,
	     "go on without evidence: you answer for it that no value needs the key"),
	TEXT("yes-destroy", "NAME", yes_destroy, "the key's name, typed once more"),
	TEXT("proof", "FILE", proof,
	     "proof that no value needs the key; for scan: where to write it"),
	TEXT("fingerprint", "HEX", fingerprint, "fingerprint that the root key must have"),
	FLAG("new", is_new, "accept it as the first root key of a machine without a keyset"),
	FLAG("retry", retry, "give no key: run the configured root key command now"),
	FLAG("abort", abort, "give up the rotation that is under way"),
	FLAG("portable", portable, "a key that also members with custody value or holder can load"),
	FLAG("join", join, "let the node whose acknowledgement this is become a member"),
	FLAG("dead", dead, "the nodes are gone: they and their API servers never start again"),
	FLAG("merge", merge, "keep this node's keys: put them into etcd's keyset"),
	FLAG("discard", discard,
	     "drop this node's keys, and with them every value that needs them"),
	FLAG("unconfirmed", unconfirmed,
	     "encrypt with the keyset on this node's disk, which may be old"),
	FLAG("watch", watch, "refresh until interrupted"),
	FLAG("alone", alone, "all members of the backup's cluster are gone for ever"),
	TEXT("output", "FILE", output, "file to write the configuration or the plaintext to"),
	TEXT("path", "KEY", path, "the value's key in etcd, /registry/..."),
	TEXT("prefix", "PATH", prefix, "prefix of the API server's keys in etcd (/registry/)"),
	TEXT("resource", "NAME", resource,
	     "resource to act on; for scan: one that has to be encrypted (secrets)"),
	TEXT("config", "FILE", config, "the EncryptionConfiguration that says what is current"),
	FLAG("verify", verify, "decrypt every value"),
	TEXT("uses", "KEY", uses, "report whether any value needs this key"),
	FLAG("offline", offline, "do not ask the daemon which keys it has"),
	FLAG("etcd", etcd,
	     "read etcd itself, at the endpoints of cluster: in FILE (" CTL_CONFIG_DEFAULT ")"),
	TEXT("endpoints", "URL,...", endpoints, "etcd's client URLs, instead of those in FILE"),
	TEXT("cacert", "FILE", cacert, "CA certificate that etcd's certificates are signed by"),
	TEXT("cert", "FILE", cert, "client certificate for etcd"),
	TEXT("key", "FILE", cert_key, "private key of that certificate"),
	TEXT("folder", "DIR", folder, "scan the newest snapshot of etcd in this directory"),
	TEXT("textfile", "FILE", textfile, "file for metrics of the outcome, for node_exporter"),
	FLAG("decode", decode, "print Secrets and ConfigMaps with masked values"),
	FLAG("reveal", reveal, "with --decode: do not mask the values"),
	FLAG("salvage", salvage, "read on past damage, and say what is lost"),
	TEXT("kubeconfig", "FILE", kubeconfig, "kubeconfig file for kubectl"),
	TEXT("context", "NAME", context, "context of the kubeconfig"),
	TEXT("page", "N", page, "objects in one page of a list (500)"),
	TEXT("rate", "N", rate, "objects a second at most (0: as fast as the cluster takes them)"),
	TEXT("state", "FILE", state, "file that records progress, to go on after an interruption"),
	FLAG("complete", complete, "also retire what was replaced, and destroy what was retired"),
	FLAG("now", now, "begin a rotation although the key is not due"),
	TEXT("wait", "SECONDS", wait,
	     "how long to wait for each thing that has to happen first (0)"),
	TEXT("shares", "N", shares, "number of shares that the root key is split into (3)"),
	TEXT("threshold", "K", threshold, "number of shares that give the root key back (2)"),
	TEXT("share-fds", "FD,...", share_fds,
	     "pipes to write the shares to, instead of the terminal"),
	TEXT("root-fds", "OLD,NEW", root_fds,
	     "pipes to read both root keys from, instead of shares"),
	TEXT("tpm", "FILE", tpm, "file of the root key, sealed by this machine's TPM"),
	FLAG("migration", migration, "let a StorageVersionMigration of the cluster do it"),
	TEXT("answers", "FILE", answers, "YAML file with the answers to init's questions"),
	TEXT("distribution", "NAME", distribution, "kubeadm, k3s, rke2 or plain"),
	TEXT("server", "WHICH", server, "first (server of the control plane), or further"),
	TEXT("root-key", "SOURCE", root_key,
	     "where the root key comes from: systemd-creds, tpm or unseal"),
	TEXT("custody", "NAME", custody, "who has the keys: serial, value or holder"),
	TEXT("as", "PEER", as, "user that kube-apiserver runs as: UID, or UID:GID,GROUP,..."),
	TEXT("pid", "PID", pid, "kube-apiserver's process: take its user, mounts and files"),
};

/* What getopt_long() returns for the option of a row, and for those that kekctl itself has. */
#define OPT_FIRST    256
#define OPT_COMMANDS (OPT_FIRST + (int)ARRAY_SIZE(options))
#define OPT_OPTIONS  (OPT_COMMANDS + 1)
#define OPT_VERSION  (OPT_COMMANDS + 2)
#define OPT_HELP     (OPT_COMMANDS + 3)
_Static_assert(ARRAY_SIZE(options) <= 64, "a bit for each");

static bool has_option(const struct ctl_command *c, const struct ctl_option *o)
{
	const char *words = c->options; /* with blanks between them */
	size_t len = strlen(o->name);

	if (o->every)
		return true;
	while (*words) {
		size_t n = strcspn(words, " ");

		if (n == len && strncmp(words, o->name, n) == 0)
			return true;
		words += n;
		words += *words == ' ';
	}
	return false;
}

static void option_text(const struct ctl_option *o, char *ret, size_t size)
{
	snprintf(ret, size, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

static void print_option(FILE *to, const struct ctl_option *o)
{
	char text[40];

	option_text(o, text, sizeof(text));
	fprintf(to, "  %-22s %s\n", text, o->help);
}

/* Is it @group, or does its name begin with that word? "" is the group of all. */
static bool is_in_group(const struct ctl_command *c, const char *group)
{
	size_t len = strlen(group);

	if (len == 0 || strcmp(c->words, group) == 0)
		return true;
	return strncmp(c->words, group, len) == 0 && c->words[len] == ' ';
}

static bool is_group(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (is_in_group(&commands[i], word))
			return true;
	return false;
}

static void usage(FILE *to, const char *group)
{
	fprintf(to, "usage: kekctl [OPTION]... %s%sCOMMAND\n\n", group, *group ? " " : "");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (is_in_group(&commands[i], group))
			fprintf(to, "  %-22s %-14s %s\n", commands[i].words, commands[i].args,
				commands[i].help);
	fputs("\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].every)
			print_option(to, &options[i]);
	fputs("  --version, --help      kekctl COMMAND --help: its options\n", to);
}

static void command_usage(const struct ctl_command *c)
{
	char text[40];

	printf("usage: kekctl %s", c->words);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		option_text(&options[i], text, sizeof(text));
		if (!options[i].every && has_option(c, &options[i]))
			printf(" [%s]", text);
	}
	printf("%s%s\n\n  %s\n", *c->args ? " " : "", c->args, c->help);
	if (*c->options)
		puts("");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (!options[i].every && has_option(c, &options[i]))
			print_option(stdout, &options[i]);
}

/* For the shells' completion: the options of @c, or all without it. */
static void list_options(const struct ctl_command *c)
{
	char text[40];

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		option_text(&options[i], text, sizeof(text));
		if (!c || has_option(c, &options[i]))
			puts(text);
	}
	puts("--version\n--help");
}

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

static const struct ctl_command *kekctl_find(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		*ret_words = words_match(commands[i].words, argc, argv);
		if (*ret_words > 0)
			return &commands[i];
	}
	return NULL;
}

/* Commands of two words are looked for by both: "key lst" is near to "key list". */
static int unknown_command(int argc, char **argv)
{
	bool group = argc > 1 && is_group(argv[0]);
	char two[NEAREST_MAX + 2];
	struct nearest one = nearest_to(argv[0]), both = nearest_to(two);
	const char *best;

	snprintf(two, sizeof(two), "%s %s", argv[0], argc > 1 ? argv[1] : "");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		nearest_offer(strchr(commands[i].words, ' ') ? &both : &one, commands[i].words);
	best = both.best ?: one.best;
	return ctl_usage("unknown command \"%s%s%s\"%s%s%s", argv[0], group ? " " : "",
			 group ? argv[1] : "", best ? ", did you mean \"" : "", best ?: "",
			 best ? "\"?" : "");
}

/* getopt_long() gives the letter of a short option. A long one is @text, cut at "=" before its value. */
static int wrong_option(char *text, const struct option *longs)
{
	struct nearest nearest;

	if (optopt > 0 && optopt < OPT_FIRST)
		return ctl_usage("unknown option -%c", optopt);
	text[strcspn(text, "=")] = '\0';
	nearest = nearest_to(text + strlen("--"));
	for (const struct option *o = longs; o->name; o++) {
		if (strcmp(o->name, nearest.typed) == 0)
			return ctl_usage("%s takes no value", text);
		nearest_offer(&nearest, o->name);
	}
	return ctl_usage("unknown option %s%s%s%s", text, nearest.best ? ", did you mean --" : "",
			 nearest.best ?: "", nearest.best ? "?" : "");
}

static int kekctl_help(int argc, char **argv, const struct ctl_command *c)
{
	if (c)
		command_usage(c);
	else if (argc == 0 || is_group(argv[0]))
		usage(stdout, argc == 0 ? "" : argv[0]);
	else
		return unknown_command(argc, argv);
	return 0;
}

/* The lines of @fd as {"output": [...]}. */
static int print_lines(int fd)
{
	_cleanup_fclose_ FILE *f = fdopen(fd, "r");
	_cleanup_free_ char *line = NULL;
	json_t *lines = json_array();
	size_t size = 0;
	ssize_t n;

	if (!f)
		close(fd);
	else
		rewind(f);
	while (f && (n = getline(&line, &size, f)) > 0) {
		json_t *text = json_stringn(line, (size_t)n - (line[n - 1] == '\n'));

		json_array_append_new(lines, text ?: json_string("(not UTF-8)"));
	}
	return ctl_print_json(json_pack("{s:o}", "output", lines));
}

/* The output for programs of a command that prints text only. */
static int run_for_lines(const struct ctl_command *c, const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_close_ int out = dup(STDOUT_FILENO);
	int lines = memfd_create("kekctl", MFD_CLOEXEC), r;

	if (out < 0 || lines < 0 || dup2(lines, STDOUT_FILENO) < 0) {
		if (lines >= 0)
			close(lines);
		return ctl_fail("standard output: %s", errno_text(errno));
	}
	r = c->run(ctl, argc, argv);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	if (r != 0 && lseek(lines, 0, SEEK_END) == 0) {
		close(lines);
		return r;
	}
	return print_lines(lines) != 0 && r == 0 ? 1 : r;
}

static int kekctl_run(const struct ctl *ctl, int argc, char **argv, uint64_t given,
		      const char **ret_command)
{
	int words = 0;
	const struct ctl_command *c = kekctl_find(argc, argv, &words);

	if (!c && (argc == 0 || (argc == 1 && is_group(argv[0])))) {
		if (ctl->json)
			return ctl_usage("no command; kekctl --help lists them");
		usage(stderr, argc == 0 ? "" : argv[0]);
		return 2;
	}
	if (!c)
		return unknown_command(argc, argv);
	*ret_command = c->words;
	/* An option that a command does not have is a mistake about what will be done. */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if ((given & UINT64_C(1) << i) && !has_option(c, &options[i]))
			return ctl_usage("%s has no option --%s; see kekctl %s --help", c->words,
					 options[i].name, c->words);
	if (ctl->json && c->out == OUT_TEXT)
		return run_for_lines(c, ctl, argc - words, argv + words);
	return c->run(ctl, argc - words, argv + words);
}

static void set_option(struct ctl *ctl, const struct ctl_option *o)
{
	void *field = (char *)ctl + o->field;

	if (o->arg)
		*(const char **)field = optarg;
	else
		*(bool *)field = true;
}

static int timeout_take(struct ctl *ctl)
{
	char *end;
	unsigned long n;

	if (!ctl->timeout)
		return 0;
	n = strtoul(ctl->timeout, &end, 10);
	if (*ctl->timeout < '0' || *ctl->timeout > '9' || *end || n > CTL_TIMEOUT_MAX)
		return ctl_usage("--timeout takes a number of seconds from 0 to %d",
				 CTL_TIMEOUT_MAX);
	ctl->timeout_s = (unsigned int)n;
	return 0;
}

static void long_options(struct option *ret)
{
	size_t n = ARRAY_SIZE(options);

	for (size_t i = 0; i < n; i++)
		ret[i] = (struct option){ .name = options[i].name,
					  .has_arg =
						  options[i].arg ? required_argument : no_argument,
					  .val = OPT_FIRST + (int)i };
	ret[n++] = (struct option){ "commands", no_argument, NULL, OPT_COMMANDS };
	ret[n++] = (struct option){ "options", no_argument, NULL, OPT_OPTIONS };
	ret[n++] = (struct option){ "version", no_argument, NULL, OPT_VERSION };
	ret[n++] = (struct option){ "help", no_argument, NULL, OPT_HELP };
	ret[n] = (struct option){ 0 };
}

/*
 * Root keys, files of keys and plaintext pass through here: no other process of this user may look in,
 * and a crash leaves nothing.
 */
static int harden(void)
{
	const struct rlimit none = { 0 };

	if (prctl(PR_SET_DUMPABLE, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return ctl_fail("cannot protect this process: %s", errno_text(errno));
	return 0;
}

static int kekctl(int argc, char **argv, const char **ret_command)
{
	struct option longs[ARRAY_SIZE(options) + 5];
	struct ctl ctl = { .admin = CTL_ADMIN_DEFAULT, .timeout_s = CTL_TIMEOUT };
	bool wants_help = false, wants_options = false;
	uint64_t given = 0;
	int c, words;

	if (harden() != 0)
		return 1;
	long_options(longs);
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", longs, NULL)) != -1) {
		if (c == '?')
			return wrong_option(argv[optind - 1], longs);
		if (c == ':')
			return ctl_usage("%s needs a value", argv[optind - 1]);
		if (c == 'h' || c == OPT_HELP) {
			wants_help = true;
		} else if (c == 'V' || c == OPT_VERSION) {
			puts("kekctl " KEKD_VERSION);
			return 0;
		} else if (c == OPT_COMMANDS) {
			for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
				puts(commands[i].words);
			return 0;
		} else if (c == OPT_OPTIONS) {
			wants_options = true;
		} else {
			given |= UINT64_C(1) << (c - OPT_FIRST);
			set_option(&ctl, &options[c - OPT_FIRST]);
		}
	}
	argc -= optind;
	argv += optind;
	if (argc > 0 && strcmp(argv[0], "help") == 0) {
		wants_help = true;
		argc--;
		argv++;
	}
	if (wants_options) {
		list_options(kekctl_find(argc, argv, &words));
		return 0;
	}
	if (ctl.json)
		ctl_errors_json();
	if (timeout_take(&ctl) != 0)
		return 2;
	return wants_help ? kekctl_help(argc, argv, kekctl_find(argc, argv, &words))
			  : kekctl_run(&ctl, argc, argv, given, ret_command);
}

int main(int argc, char **argv)
{
	const char *command = "";
	int r;

	log_init("kekctl", LOG_LEVEL_WARNING);
	/* Errors about options come before all options are read. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			ctl_errors_json();
	r = kekctl(argc, argv, &command);
	return ctl_errors_end(command, r);
}
