/* SPDX-License-Identifier: Apache-2.0 */
/* Which etcd scan --etcd reads, by the rules of `cluster:` in kekd.yaml. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/chain/config.h"
#include "daemon/ctl/input.h"
#include "daemon/ctl/scan.h"

int scan_conf_read(const char *path, struct config **ret)
{
	_cleanup_(input_release) struct input in = { 0 };
	struct yaml_error err = { 0 };
	int r;

	if (input_read(path, &in) != 0)
		return 1;
	r = config_parse(input_span(&in), path, ret, &err);
	return r < 0 ? ctl_fail("%s", *err.text ? err.text : errno_text(r)) : 0;
}

static void setup_of(const struct config_cluster *c, struct carrier_setup *ret)
{
	*ret = (struct carrier_setup){ .prefix = "", .ca = c->ca, .cert = c->cert, .key = c->key };
	ret->n_endpoints = c->endpoints.count;
	for (size_t i = 0; i < c->endpoints.count; i++)
		ret->endpoints[i] = c->endpoints.v[i];
}

static int from_conf(const char *path, struct config **conf, struct carrier_setup *ret)
{
	const struct config_cluster *c;
	int r = scan_conf_read(path, conf);

	if (r != 0)
		return r;
	c = &(*conf)->cluster;
	if (c->endpoints.count == 0)
		return ctl_fail(
			"%s has no `cluster:`: give --endpoints, --cacert, --cert and --key", path);
	setup_of(c, ret);
	return 0;
}

/* Cuts *@list, which ret->endpoints borrow. */
static int endpoints_cut(char *list, struct carrier_setup *ret)
{
	char *rest, *one = strtok_r(list, ",", &rest);

	for (; one; one = strtok_r(NULL, ",", &rest)) {
		if (!config_is_endpoint(one))
			return ctl_usage(
				"--endpoints: %s is not https://ADDRESS:PORT, an address and "
				"no name; http:// is for loopback addresses only",
				one);
		if (ret->n_endpoints == CARRIER_ENDPOINTS_MAX)
			return ctl_usage("--endpoints takes up to %d", CARRIER_ENDPOINTS_MAX);
		ret->endpoints[ret->n_endpoints++] = one;
	}
	return ret->n_endpoints > 0 ? 0 : ctl_usage("--endpoints names none");
}

/* An option takes the place of a file of kekd.yaml, whose certificate may open no more than a prefix. */
static int files_set(const struct ctl *ctl, struct carrier_setup *s)
{
	bool tls = false;

	s->ca = ctl->cacert ?: s->ca;
	if (!ctl->cert != !ctl->cert_key)
		return ctl_usage("--cert and --key go together");
	s->cert = ctl->cert ?: s->cert;
	s->key = ctl->cert_key ?: s->key;
	for (size_t i = 0; i < s->n_endpoints; i++)
		tls = tls || strncmp(s->endpoints[i], "https", 5) == 0;
	return tls && !s->ca ? ctl_usage("https endpoints need --cacert") : 0;
}

/* kekd-cluster may read the folders of these files and no other: a link leads elsewhere. The caller frees. */
static int files_find(struct carrier_setup *s, char *found[static 3])
{
	const char **files[] = { &s->ca, &s->cert, &s->key };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!*files[i])
			continue;
		found[i] = realpath(*files[i], NULL);
		if (!found[i] || access(found[i], R_OK) < 0)
			return ctl_fail("%s: %s", *files[i], errno_text(errno));
		*files[i] = found[i];
	}
	return 0;
}

/* The same etcd twice would be counted twice, and another one would go unread. kine has no number. */
static int etcd_is_new(struct scan *s, uint64_t cluster)
{
	for (size_t i = 0; i < s->n_etcds; i++)
		if (cluster != 0 && s->etcds[i] == cluster)
			return ctl_fail("etcd cluster %" PRIx64
					" is named twice: an element of `otherEtcds` has to be "
					"another one than `cluster`",
					cluster);
	s->etcds[s->n_etcds++] = cluster;
	return 0;
}

/* Read one etcd. Of several, the first describes the file; only the numbers of values are added up. */
static int etcd_read(struct scan *s, struct etcdread *from, dump_each_fn *each)
{
	struct dump_info first = s->file.info;
	char *found[3] = { NULL };
	int r = files_find(&from->etcd, found);

	r = r == 0 ? etcdread_all(from, each, s, &s->file) : 1;
	for (size_t i = 0; i < ARRAY_SIZE(found); i++)
		free(found[i]);
	if (r == 0)
		r = etcd_is_new(s, s->file.info.cluster_id);
	if (s->n_etcds < 2)
		return r;
	first.whole = first.whole && s->file.info.whole;
	first.values += s->file.info.values;
	s->file.info = first;
	return r;
}

static int others_read(struct scan *s, const struct config_others *others, dump_each_fn *each)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < others->count; i++) {
		struct etcdread from = { 0 };

		setup_of(&others->v[i], &from.etcd);
		if (s->ctl->cert && !from.etcd.cert) {
			from.etcd.cert = s->ctl->cert;
			from.etcd.key = s->ctl->cert_key;
		}
		r = etcd_read(s, &from, each);
	}
	return r;
}

int scan_etcd(struct scan *s, const char *path, dump_each_fn *each)
{
	const struct ctl *ctl = s->ctl;
	_cleanup_(config_freep) struct config *conf = NULL;
	_cleanup_free_ char *list = NULL;
	struct etcdread from = { .etcd.prefix = "", .revision = s->mark.is.revision };
	int r;

	if (ctl->endpoints && path)
		r = ctl_usage("scan --etcd takes kekd.yaml or --endpoints, not both");
	else if (!ctl->endpoints)
		r = from_conf(path ?: CTL_CONFIG_DEFAULT, &conf, &from.etcd);
	else if ((list = strdup(ctl->endpoints)))
		r = endpoints_cut(list, &from.etcd);
	else
		r = ctl_fail("out of memory");
	if (r == 0)
		r = files_set(ctl, &from.etcd);
	if (r == 0)
		r = etcd_read(s, &from, each);
	if (r == ETCDREAD_AGAIN && from.revision != 0)
		return ctl_fail(
			"that is where key %s was marked, so it has to be marked again: `kekctl key "
			"mark %s`, then scan at once",
			s->use.key->info.label, s->use.key->info.label);
	return r == 0 && conf ? others_read(s, &conf->others, each) : r;
}
