/* SPDX-License-Identifier: Apache-2.0 */
/* See init.h. An option is stronger than the file of answers; on a terminal what neither says is asked. */
#include "daemon/chain/config.h"
#include "daemon/ctl/init.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/nearest.h"
#include "daemon/base/yaml.h"
#include "daemon/ctl/ceremony.h"
#include "daemon/ctl/doctor.h"
#include "daemon/ctl/input.h"

/* Where an answer is looked for: the file first, then the options. */
struct init_sources {
	const struct yaml_node *resources, *apiserver, *key;
	struct init_answers a;
};

/* --- answers ----------------------------------------------------------------------------------- */

#define ANSWER(NAME, GET, MEMBER, ...)                                                         \
	{                                                                                      \
		.name = (NAME), .get = (GET), .offset = offsetof(struct init_sources, MEMBER), \
		__VA_ARGS__                                                                    \
	}

static const struct yaml_field answer_fields[] = {
	ANSWER("distribution", yaml_get_enum, a.distribution, .flags = YAML_REQUIRED,
	       .arg = init_distributions),
	ANSWER("server", yaml_get_enum, a.server, .arg = init_servers),
	ANSWER("rootKey", yaml_get_enum, a.root, .arg = init_roots),
	ANSWER("shares", yaml_get_u32, a.shares, .min = 1, .max = SLIP39_SHARES_MAX),
	ANSWER("threshold", yaml_get_u32, a.threshold, .min = 1, .max = SLIP39_SHARES_MAX),
	ANSWER("custody", yaml_get_enum, a.custody, .arg = config_custody_names),
	ANSWER("resources", yaml_get_node, resources),
	ANSWER("key", yaml_get_node, key),
	ANSWER("apiserver", yaml_get_node, apiserver),
	{ 0 },
};

static int take_resources(const struct yaml_doc *doc, const struct yaml_node *list,
			  struct init_answers *a)
{
	size_t len = 0;
	int r = yaml_expect(doc, list, YAML_LIST, "resources");

	if (r < 0)
		return r;
	if (list->count == 0)
		return yaml_fail(doc, list, "\"resources\" must not be empty");
	yaml_for_each(n, list)
	{
		r = yaml_expect(doc, n, YAML_STR, NULL);
		if (r < 0)
			return r;
		if (n->len == 0 || strchr(n->text, ',') || len + n->len + 2 > sizeof(a->resources))
			return yaml_fail(doc, n, "no name of a resource");
		len += (size_t)snprintf(a->resources + len, sizeof(a->resources) - len, "%s%s",
					len > 0 ? "," : "", n->text);
	}
	return 0;
}

static int take_file(const struct yaml_doc *doc, struct init_sources *s)
{
	int r;

	s->a.shares = s->a.threshold = 0;
	r = yaml_read(doc, yaml_doc_root(doc), answer_fields, s);
	/* One without the other is more likely forgotten than meant. */
	if (r == 0 && !s->a.shares != !s->a.threshold)
		r = yaml_fail(doc, yaml_doc_root(doc), "\"shares\" and \"threshold\" go together");
	if (r == 0 && !s->a.shares) {
		s->a.shares = CEREMONY_SHARES;
		s->a.threshold = CEREMONY_THRESHOLD;
	}
	if (r == 0 && s->resources)
		r = take_resources(doc, s->resources, &s->a);
	if (r == 0 && s->key)
		r = yaml_expect(doc, s->key, YAML_STR, "key");
	if (r == 0 && s->key &&
	    (size_t)snprintf(s->a.key, sizeof(s->a.key), "%s", s->key->text) >= sizeof(s->a.key))
		r = yaml_fail(doc, s->key, "\"key\" is longer than %zu bytes",
			      sizeof(s->a.key) - 1);
	if (r == 0 && s->apiserver &&
	    (!s->apiserver->text || peer_parse(s->apiserver->text, &s->a.apiserver) < 0))
		r = yaml_fail(doc, s->apiserver,
			      "\"apiserver\" must be UID, or UID:GID,GROUP,... in quotes");
	return r;
}

static int read_answers(const char *file, struct init_answers *a)
{
	_cleanup_(input_release) struct input in = { 0 };
	_cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
	struct init_sources s = { .a = *a };
	struct yaml_error err = { 0 };
	int r;

	if (input_read(file, &in) != 0)
		return 1;
	r = yaml_doc_parse(input_span(&in), file, &err, &doc);
	if (r == 0)
		r = take_file(doc, &s);
	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r));
	*a = s.a;
	return 0;
}

/* Find the answer among @words. If it is none of them, the nearest one is named. */
static int take_word(const char *option, const char *typed, const char *const *words,
		     unsigned int *ret)
{
	struct nearest near = nearest_to(typed);

	for (unsigned int i = 0; words[i]; i++) {
		if (strcmp(words[i], typed) == 0) {
			*ret = i;
			return 0;
		}
		nearest_offer(&near, words[i]);
	}
	return ctl_usage("--%s: no \"%s\"%s%s%s", option, yaml_shown(typed),
			 near.best ? ", did you mean \"" : "; see kekctl init --help",
			 near.best ?: "", near.best ? "\"?" : "");
}

static int take_options(const struct ctl *ctl, struct init_answers *a)
{
	int r = 0;

	if (ctl->distribution)
		r = take_word("distribution", ctl->distribution, init_distributions,
			      &a->distribution);
	if (r == 0 && ctl->server)
		r = take_word("server", ctl->server, init_servers, &a->server);
	if (r == 0 && ctl->root_key)
		r = take_word("root-key", ctl->root_key, init_roots, &a->root);
	if (r == 0 && ctl->custody)
		r = take_word("custody", ctl->custody, config_custody_names, &a->custody);
	if (r == 0 && ctl->resource &&
	    (size_t)snprintf(a->resources, sizeof(a->resources), "%s", ctl->resource) >=
		    sizeof(a->resources))
		r = ctl_usage("--resource: too long");
	if (r == 0 && ctl->as && peer_parse(ctl->as, &a->apiserver) < 0)
		r = ctl_usage("--as takes UID, or UID:GID, or UID:GID,GROUP,..., as numbers");
	if (r == 0)
		r = ceremony_numbers(ctl->shares, ctl->threshold, &a->shares, &a->threshold);
	return r;
}

/* --- questions --------------------------------------------------------------------------------- */

/* An answer of a line, or @preset. 1: standard input has ended. */
static int init_ask(const char *question, const char *preset, char *ret, size_t size)
{
	printf("%s [%s] ", question, preset);
	fflush(stdout);
	if (!fgets(ret, (int)size, stdin))
		return ctl_fail("no answer");
	ret[strcspn(ret, "\r\n")] = '\0';
	if (!*ret)
		snprintf(ret, size, "%s", preset);
	return 0;
}

static int ask_word(const char *question, const char *option, const char *const *words,
		    unsigned int *answer)
{
	char line[256];

	if (init_ask(question, words[*answer], line, sizeof(line)) != 0)
		return 1;
	return take_word(option, line, words, answer);
}

static int ask_shares(struct init_answers *a)
{
	char shares[16], threshold[16], preset[16];
	int r;

	snprintf(preset, sizeof(preset), "%u", a->shares);
	r = init_ask("Into how many shares, for people, is the root key split?", preset, shares,
		     sizeof(shares));
	snprintf(preset, sizeof(preset), "%u", a->threshold);
	if (r == 0)
		r = init_ask("How many of them give it back?", preset, threshold,
			     sizeof(threshold));
	return r == 0 ? ceremony_numbers(shares, threshold, &a->shares, &a->threshold) : r;
}

/* What this machine looks like. */
static unsigned int guess(const struct place *p)
{
	static const char *const signs[INIT_DISTRIBUTIONS] = {
		[INIT_KUBEADM] = "/etc/kubernetes/manifests/kube-apiserver.yaml",
		[INIT_K3S] = "/var/lib/rancher/k3s/server",
		[INIT_RKE2] = "/var/lib/rancher/rke2/server",
	};
	char path[512];

	for (unsigned int i = 0; i < INIT_PLAIN; i++) {
		snprintf(path, sizeof(path), "%s%s", p->root, signs[i]);
		if (access(path, F_OK) == 0)
			return i;
	}
	return INIT_PLAIN;
}

static int ask_all(const struct place *p, struct init_answers *a)
{
	char peer[64], preset[INIT_RESOURCES_MAX];
	int r;

	a->distribution = guess(p);
	a->custody = *p->root ? CONFIG_CUSTODY_SERIAL : doctor_best_custody();
	r = ask_word("Kubernetes by kubeadm, k3s, rke2 or plain?", "distribution",
		     init_distributions, &a->distribution);
	if (r == 0)
		r = ask_word(
			"Is this the first server of the control plane with kekd, or a further one (first or further)?",
			"server", init_servers, &a->server);
	if (r == 0)
		r = ask_word("The root key from systemd-creds, tpm (systemd-creds with a TPM) or "
			     "unseal (people's shares, after each start)?",
			     "root-key", init_roots, &a->root);
	if (r == 0)
		r = ask_word(
			"Who has the keys: the kernel alone (serial), the kernel and kekd while it loads them (value, "
			"for Linux before 6.2), or a process of kekd (holder, where there is no AF_ALG)?",
			"custody", config_custody_names, &a->custody);
	if (r == 0 && a->server == INIT_FIRST)
		r = ask_shares(a);
	snprintf(preset, sizeof(preset), "%s", a->resources);
	if (r == 0)
		r = init_ask("Which resources?", preset, a->resources, sizeof(a->resources));
	if (r == 0)
		r = init_ask("kube-apiserver's uid, or uid:gid?", "0", peer, sizeof(peer));
	if (r == 0 && peer_parse(peer, &a->apiserver) < 0)
		r = ctl_fail("\"%s\": no UID, nor UID:GID", yaml_shown(peer));
	return r;
}

/* --- the command ------------------------------------------------------------------------------- */

/* Tell what on the machine itself is in the way. kekd's own part comes later. */
static void look_at_host(const struct place *p, unsigned int custody)
{
	struct doctor d = {
		.ctl = p->ctl, .root = p->root, .custody = custody, .findings = json_array()
	};
	json_t *f;
	size_t i;

	if (!d.findings)
		return;
	doctor_host(&d);
	if (!*p->root)
		doctor_kernel(&d);
	json_array_foreach(d.findings, i, f)
	{
		const char *check = json_string_value(json_object_get(f, "check"));

		if (strcmp(json_string_value(json_object_get(f, "level")), "problem") == 0)
			printf("problem    %s: %s\n           > %s\n", check,
			       json_string_value(json_object_get(f, "text")),
			       json_string_value(json_object_get(f, "cure")));
	}
	json_decref(d.findings);
}

static int init_print(const struct place *p, const struct init_answers *a)
{
	_cleanup_free_ char *next = init_next(a);
	int r = 0;

	if (!next)
		return ctl_fail("out of memory");
	if (p->ctl->json)
		r = ctl_print_json(json_pack("{s:O, s:s, s:s, s:s}", "files", p->files,
					     "distribution", init_distributions[a->distribution],
					     "existing", a->existing, "next", next));
	else
		printf("\nNext:\n%s", next);
	return r == 0 && p->differ == 0 ? 0 : 1;
}

int ctl_init(const struct ctl *ctl, int argc, char **argv)
{
	struct init_answers a = { .resources = "secrets",
				  .key = "primary",
				  .shares = CEREMONY_SHARES,
				  .threshold = CEREMONY_THRESHOLD };
	struct place p = { .ctl = ctl, .root = argc == 1 ? argv[0] : "" };
	int r = 0;

	if (argc > 1)
		return ctl_usage("init takes at most one argument, the root to write to");
	if (ctl->answers)
		r = read_answers(ctl->answers, &a);
	else if (!ctl->distribution && isatty(STDIN_FILENO))
		r = ask_all(&p, &a);
	else if (!ctl->distribution)
		return ctl_usage("init needs --distribution or --answers; this looks like \"%s\"",
				 init_distributions[guess(&p)]);
	if (r == 0)
		r = take_options(ctl, &a);
	if (r != 0)
		return r;
	p.files = json_array();
	if (!p.files)
		return ctl_fail("out of memory");
	if (!ctl->json)
		look_at_host(&p, a.custody);
	init_find(&p, &a);
	r = init_place(&p, &a);
	if (r == 0)
		r = init_print(&p, &a);
	json_decref(p.files);
	return r;
}
