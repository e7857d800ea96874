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
	{ OUT_JSON, "status", "", "", "how the daemon is", ctl_status },
	{ OUT_JSON, "doctor", "[ROOT]", "",
	  "look at kernel, host and daemon; what is wrong and the cure", ctl_doctor },
	{ OUT_JSON, "init", "[ROOT]",
	  "dry-run answers distribution server root-key resource shares threshold as",
	  "write kekd's configuration and kube-apiserver's, and say what to type next", ctl_init },
	{ OUT_JSON, "probe", "[FILE]", "as pid", "ask the plugins of FILE as kube-apiserver would",
	  ctl_probe },
	{ OUT_DATA, "metrics", "", "", "what is counted, in Prometheus' text format", ctl_metrics },
	{ OUT_JSON, "top", "[TIMES]", "", "what the daemon does now, again and again", ctl_top },
	{ OUT_TEXT, "config check", "[FILE]", "", "check kekd's configuration files",
	  ctl_config_check },
	{ OUT_JSON, "config units", "[FILE] [ROOT]", "dry-run",
	  "write the drop-ins that make systemd's units agree with FILE", ctl_config_units },
	{ OUT_JSON, "config schema", "", "", "JSON Schema of kekd.yaml, for editors",
	  ctl_config_schema },
	{ OUT_DATA, "config apiserver", "[RESOURCE...]", "",
	  "print the EncryptionConfiguration for kube-apiserver", ctl_config_apiserver },
	{ OUT_TEXT, "reload", "", "", "have the daemon read its configuration anew", ctl_reload },
	{ OUT_TEXT, "unseal", "< PIPE", "fingerprint new retry", "give the daemon its root key",
	  ctl_unseal },
	{ OUT_DATA, "root create", "[COMMAND...]", "shares threshold share-fds tpm",
	  "make a root key and its shares; COMMAND, behind --, seals it", ctl_root_create },
	{ OUT_DATA, "root restore", "[COMMAND...]", "tpm",
	  "put shares together; COMMAND, behind --, seals the root key", ctl_root_restore },
	{ OUT_TEXT, "root verify", "[FILE]", "", "say whether shares open the keyset, or a backup",
	  ctl_root_verify },
	{ OUT_DATA, "root seal", "[COMMAND...]", "shares threshold share-fds tpm",
	  "have a root key from a pipe sealed, or shared", ctl_root_seal },
	{ OUT_TEXT, "root next", "< PIPE", "tpm", "give this node the root key that is to come",
	  ctl_root_next },
	{ OUT_TEXT, "root rotate", "", "root-fds abort tpm",
	  "seal every key under another root key", ctl_root_rotate },
	{ OUT_JSON, "key list", "", "", "keys, their states and ids", ctl_key_list },
	{ OUT_JSON, "key show", "KEY", "", "all about one key", ctl_key_show },
	{ OUT_JSON, "key create", "NAME", "dry-run portable",
	  "make a key inside the kernel and store it sealed", ctl_key_create },
	{ OUT_TEXT, "key import", "FILE", "dry-run output",
	  "take the secrets of an EncryptionConfiguration into the kernel", ctl_key_import },
	{ OUT_JSON, "key stage", "NAME", "dry-run portable", "make a key that can only decrypt yet",
	  ctl_key_stage },
	{ OUT_JSON, "key activate", "KEY", "dry-run", "encrypt with it from now on",
	  ctl_key_activate },
	{ OUT_JSON, "key rotate", "NAME", "dry-run abort portable",
	  "stage a new key, and activate it", ctl_key_rotate },
	{ OUT_JSON, "key mark", "KEY", "dry-run",
	  "have the keyset say that nobody writes with it any more", ctl_key_mark },
	{ OUT_JSON, "key retire", "KEY", "dry-run force proof",
	  "open no values any more; can be undone", ctl_key_retire },
	{ OUT_JSON, "key reopen", "KEY", "dry-run", "undo retire", ctl_key_reopen },
	{ OUT_JSON, "key destroy", "KEY", "dry-run force yes-destroy proof",
	  "forget a retired key for ever", ctl_key_destroy },
	{ OUT_JSON, "key reload", "", "dry-run",
	  "load keys again that were taken away in the kernel", ctl_key_reload },
	{ OUT_JSON, "key verify", "", "", "prove that every stored key opens", ctl_key_verify },
	{ OUT_JSON, "keyset show", "", "", "the members and what they have acknowledged",
	  ctl_keyset_show },
	{ OUT_DATA, "keyset export", "> TEXT", "", "print the keyset and an acknowledgement",
	  ctl_keyset_export },
	{ OUT_DATA, "keyset apply", "< TEXT", "",
	  "take what export printed; print an acknowledgement", ctl_keyset_apply },
	{ OUT_TEXT, "keyset ack", "< TEXT", "join", "take what apply printed", ctl_keyset_ack },
	{ OUT_TEXT, "keyset take", "", "", "changes come from this node from now on",
	  ctl_keyset_take },
	{ OUT_TEXT, "keyset merge", "< TEXT", "dry-run",
	  "take the keys of two keysets that have forked", ctl_keyset_merge },
	{ OUT_TEXT, "keyset remove", "NODE,...", "dead", "let members go", ctl_keyset_remove },
	{ OUT_JSON, "cluster status", "", "watch",
	  "who is there, what a change waits for, and since when", ctl_cluster_status },
	{ OUT_TEXT, "cluster create", "", "", "have etcd carry this node's keyset",
	  ctl_cluster_create },
	{ OUT_TEXT, "cluster join", "", "merge discard",
	  "take etcd's keyset on a node that has its own", ctl_cluster_join },
	{ OUT_TEXT, "cluster remove", "NODE,...", "dead", "let members go", ctl_cluster_remove },
	{ OUT_TEXT, "cluster serve", "", "unconfirmed", "write although etcd cannot be asked",
	  ctl_cluster_serve },
	{ OUT_TEXT, "backup verify", "FILE", "", "say whether a backup opens here",
	  ctl_backup_verify },
	{ OUT_TEXT, "backup", "FILE", "", "save the keyset, sealed", ctl_backup },
	{ OUT_TEXT, "restore", "FILE", "dry-run alone", "bring back what a backup has",
	  ctl_restore },
	{ OUT_JSON, "scan", "[FILE]",
	  "config resource verify uses proof offline prefix etcd endpoints cacert cert key "
	  "folder textfile",
	  "what the values of etcd, or of a dump of it, are encrypted with", ctl_scan },
	{ OUT_DATA, "open", "[FILE]", "path output prefix resource decode reveal salvage",
	  "decrypt a dump of etcd, or one value of it", ctl_open },
	{ OUT_JSON, "reencrypt", "RESOURCE...",
	  "dry-run kubeconfig context page rate state migration",
	  "have a cluster store objects anew, with the present key", ctl_reencrypt },
	{ OUT_JSON, "rotate", "NAME [FILE]",
	  "complete now wait resource portable kubeconfig context page rate state endpoints cacert "
	  "cert key",
	  "take a rotation through all its steps, as far as they can be made now", ctl_rotate },
	{ OUT_JSON, "encrypt", "< DATA", "", "wrap standard input by KMS v2; prints JSON",
	  ctl_encrypt },
	{ OUT_DATA, "decrypt", "< JSON", "", "unwrap what encrypt printed", ctl_decrypt },
	{ OUT_DATA, "transform to-storage", "< VALUE", "path resource",
	  "encrypt a value as it is stored in etcd", ctl_transform_to },
	{ OUT_DATA, "transform from-storage", "< VALUE", "path resource", "decrypt a value of etcd",
	  ctl_transform_from },
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
	EVERY_TEXT("socket", "SOCKET", socket, "the KMS socket (default: what the keeper says)"),
	EVERY_TEXT("timeout", "SECONDS", timeout,
		   "that the keeper has to answer (10; 0: any time)"),
	EVERY_FLAG("json", json, "output for programs"),
	FLAG("dry-run", dry_run, "say what would be done, do nothing"),
	FLAG("force", force, "on your word: values may need the key"),
	TEXT("yes-destroy", "NAME", yes_destroy, "the key's name, typed once more"),
	TEXT("proof", "FILE", proof, "the proof that nothing needs the key: scan writes it"),
	TEXT("fingerprint", "HEX", fingerprint, "what the root key must have"),
	FLAG("new", is_new, "it is the first root key, and this machine has no keyset"),
	FLAG("retry", retry, "give none: have the configured command run now"),
	FLAG("abort", abort, "give the rotation up that is under way"),
	FLAG("portable", portable, "a key for members whose kernel cannot keep it"),
	FLAG("join", join, "the node that says it becomes a member"),
	FLAG("dead", dead, "they and their API servers never start again"),
	FLAG("merge", merge, "take this node's keys along"),
	FLAG("discard", discard, "forget this node's keys, and what needs them"),
	FLAG("unconfirmed", unconfirmed, "with the keyset of this node's disk"),
	FLAG("watch", watch, "again and again"),
	FLAG("alone", alone, "all members of the backup's cluster are gone for ever"),
	TEXT("output", "FILE", output, "where the configuration or the plaintext goes"),
	TEXT("path", "KEY", path, "the value's key in etcd, /registry/..."),
	TEXT("prefix", "PATH", prefix, "what keys of etcd begin with (/registry/)"),
	TEXT("resource", "NAME", resource,
	     "which resource is meant, or (scan) has to be encrypted (secrets)"),
	TEXT("config", "FILE", config, "the EncryptionConfiguration that says what is current"),
	FLAG("verify", verify, "have every value opened"),
	TEXT("uses", "KEY", uses, "does any value need this key?"),
	FLAG("offline", offline, "do not ask the daemon which keys it has"),
	FLAG("etcd", etcd, "read etcd itself, as cluster: of FILE says (" CTL_CONFIG_DEFAULT ")"),
	TEXT("endpoints", "URL,...", endpoints, "of etcd, in the place of FILE's"),
	TEXT("cacert", "FILE", cacert, "the CA of etcd's certificates"),
	TEXT("cert", "FILE", cert, "the client certificate for etcd"),
	TEXT("key", "FILE", cert_key, "its key"),
	TEXT("folder", "DIR", folder, "the newest snapshot of etcd in it"),
	TEXT("textfile", "FILE", textfile, "metrics of the outcome, for node_exporter"),
	FLAG("decode", decode, "show Secrets and ConfigMaps, their values masked"),
	FLAG("reveal", reveal, "do not mask them"),
	FLAG("salvage", salvage, "go on past what is damaged, and say what is lost"),
	TEXT("kubeconfig", "FILE", kubeconfig, "kubectl's configuration"),
	TEXT("context", "NAME", context, "which cluster of it"),
	TEXT("page", "N", page, "objects listed at a time (500)"),
	TEXT("rate", "N", rate,
	     "objects a second at most (0: no bound but what the cluster takes)"),
	TEXT("state", "FILE", state, "where to go on after an interruption"),
	FLAG("complete", complete, "also retire what was replaced, and destroy what was retired"),
	FLAG("now", now, "begin a rotation although the key is not due"),
	TEXT("wait", "SECONDS", wait, "how long it waits for one thing that has to come (0)"),
	TEXT("shares", "N", shares, "into how many shares the root key is split (3)"),
	TEXT("threshold", "K", threshold, "how many of them give it back (2)"),
	TEXT("share-fds", "FD,...", share_fds, "pipes that the shares go to, not the terminal"),
	TEXT("root-fds", "OLD,NEW", root_fds, "pipes that both root keys come from, not shares"),
	TEXT("tpm", "FILE", tpm, "the root key, sealed by this machine's TPM"),
	FLAG("migration", migration, "by a StorageVersionMigration of the cluster"),
	TEXT("answers", "FILE", answers, "what init would ask, in YAML"),
	TEXT("distribution", "NAME", distribution, "kubeadm, k3s, rke2 or plain"),
	TEXT("server", "WHICH", server, "first (of the control plane), or further"),
	TEXT("root-key", "SOURCE", root_key, "systemd-creds, tpm or unseal"),
	TEXT("as", "PEER", as, "whom kube-apiserver runs as: UID, or UID:GID,GROUP,..."),
	TEXT("pid", "PID", pid, "its process: whom it runs as, its mounts and its file"),
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
