/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which key a resource is written with. The keeper says it of each resource that its EncryptionConfiguration
 * names; where that has one chain, kube-apiserver may send it any resource.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

/* Does @rule, of an EncryptionConfiguration, take @res? */
static bool key_covers(const char *rule, const struct kube_resource *res)
{
	const char *dot = strchr(rule, '.'), *group = dot ? dot + 1 : "";
	size_t len = dot ? (size_t)(dot - rule) : strlen(rule);
	bool any = len == 1 && *rule == '*';

	if (!any && (strlen(res->name) != len || strncmp(rule, res->name, len) != 0))
		return false;
	return strcmp(group, res->group) == 0 || (any && strcmp(group, "*") == 0);
}

char *reencrypt_writes_get(const struct ctl *ctl)
{
	const struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_WRITES };
	struct admin_reply reply;
	char *text = NULL;
	size_t len;

	if (ctl_try(ctl, &(struct ctl_exchange){ .req = &req, .ret_text = &text, .ret_len = &len },
		    &reply) == 0 &&
	    reply.r == 0)
		return text;
	free(text);
	return NULL;
}

/* The first rule that takes it, or the only chain. */
static void key_get(const char *writes, const struct kube_resource *res, char *ret, size_t size)
{
	char rule[KUBE_RESOURCE_TEXT], key_id[128], only[128] = "";
	unsigned int chain, chains = 0;

	ret[0] = '\0';
	for (const char *line = writes; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (sscanf(line, "%u %507s %127s", &chain, rule, key_id) != 3)
			continue;
		if (strcmp(key_id, "-") == 0)
			key_id[0] = '\0';
		if (chain + 1 > chains)
			chains = chain + 1;
		if (chain == 0)
			strcpy(only, key_id);
		if (key_covers(rule, res)) {
			snprintf(ret, size, "%s", key_id);
			return;
		}
	}
	if (chains == 1)
		snprintf(ret, size, "%s", only);
}

char *reencrypt_resources_of(const struct ctl *ctl, const char *key_id)
{
	_cleanup_free_ char *writes = reencrypt_writes_get(ctl);
	char rule[KUBE_RESOURCE_TEXT], by[128];
	size_t size = strlen(writes ?: "") + 1, len = 0;
	char *ret = calloc(size, 1);

	for (const char *line = writes ?: ""; ret && *line;
	     line += strcspn(line, "\n"), line += *line == '\n')
		if (sscanf(line, "%*u %507s %127s", rule, by) == 2 && strcmp(by, key_id) == 0)
			len += (size_t)snprintf(ret + len, size - len, "%s%s", len ? "," : "",
						rule);
	return ret;
}

void reencrypt_keys_get(const struct ctl *ctl, struct rewrite *all, size_t n)
{
	_cleanup_free_ char *writes = reencrypt_writes_get(ctl);

	for (size_t i = 0; i < n; i++)
		key_get(writes ?: "", &all[i].res, all[i].key_id, sizeof(all[i].key_id));
}

bool reencrypt_keys_changed(const struct reencrypt *re)
{
	_cleanup_free_ char *writes = reencrypt_writes_get(re->ctl);
	char key_id[sizeof(re->all[0].key_id)];

	for (size_t i = 0; writes && i < re->n; i++) {
		key_get(writes, &re->all[i].res, key_id, sizeof(key_id));
		if (strcmp(key_id, re->all[i].key_id) != 0)
			return true;
	}
	return false;
}
