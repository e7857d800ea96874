/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See init.h. What is made is read by the parsers that will read it before any of it is written: names of resources
 * and keys come from a person.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/chain/config.h"
#include "daemon/chain/encconf.h"
#include "daemon/ctl/config_units.h"
#include "daemon/ctl/init.h"

#define ETC       "/etc/kekd"
#define APISERVER ETC "/apiserver"
#define IN_FORCE  APISERVER "/encryption.yaml"
#define RUN       "/run/kekd"
#define KEYS      "/var/lib/kekd/keys"
#define ROOT_CRED ETC "/root.cred"

const char *const init_distributions[] = { "kubeadm", "k3s", "rke2", "plain", NULL };
const char *const init_servers[] = { "first", "further", NULL };
const char *const init_roots[] = { "systemd-creds", "tpm", "unseal", NULL };

/* --- kekd's own -------------------------------------------------------------------------------- */

static void put_kekd(FILE *to, const struct init_answers *a)
{
	fputs("# See kekd.yaml(5); `kekd --check --unit` tells whether it is right.\n"
	      "socket: " RUN "/kms.sock\n",
	      to);
	if (a->apiserver.uid != 0)
		fprintf(to, "socketMode: \"0660\"\nsocketGroup: %u\n", a->apiserver.gid);
	fprintf(to,
		"allowedPeers:\n"
		"  uids: [%u]                # whom kube-apiserver runs as\n"
		"admin:\n"
		"  socket: " RUN "/admin.sock\n"
		"encryptionConfig: " ETC "/encryption.yaml\n"
		"custody: %s\n"
		"keyStore: " KEYS "\n"
		"# It seals all other keys, and is the same on every server of the control plane.\n"
		"rootKey:\n",
		a->apiserver.uid, config_custody_names[a->custody]);
	if (a->root == INIT_UNSEAL)
		fputs("  source: unseal\n", to);
	else
		fputs("  source: command\n"
		      "  command: [/usr/bin/systemd-creds, decrypt, --name=kekd-root, " ROOT_CRED
		      ", \"-\"]\n",
		      to);
	fputs("server:\n  user: kekd\n", to);
}

static void put_head(FILE *to)
{
	fputs("apiVersion: apiserver.config.k8s.io/v1\n"
	      "kind: EncryptionConfiguration\n"
	      "resources:\n"
	      "- resources:\n",
	      to);
}

static void put_resources(FILE *to, const struct init_answers *a)
{
	const char *s = a->resources;

	while (*s) {
		int len = (int)strcspn(s, ",");

		fprintf(to, "  - \"%.*s\"\n", len, s);
		s += len + (s[len] == ',');
	}
	fputs("  providers:\n", to);
}

/* kekd's own file says which key encrypts. Of which resource a value of a KMS socket is, kekd cannot see. */
static void init_put_chain(FILE *to, const struct init_answers *a)
{
	fputs("# Keys are names; `kekctl key create` makes one.\n", to);
	put_head(to);
	put_resources(to, a);
	fprintf(to, "  - aesgcm: { keys: [ { name: \"%s\" } ] }\n", a->key);
}

/* --- kube-apiserver's -------------------------------------------------------------------------- */

#define PROVIDER_KMS                                \
	"  - kms:\n"                                \
	"      apiVersion: v2\n"                    \
	"      name: kekd\n"                        \
	"      endpoint: unix://" RUN "/kms.sock\n" \
	"      timeout: 3s\n"

static void put_reader(FILE *to, const struct init_answers *a)
{
	fputs("# The first step, on every API server: it reads what kekd has encrypted, and writes as before.\n",
	      to);
	put_head(to);
	put_resources(to, a);
	fputs("  - identity: {}\n" PROVIDER_KMS, to);
}

static void put_writer(FILE *to, const struct init_answers *a)
{
	fputs("# The second step, when every API server has read the first: it writes through kekd.\n",
	      to);
	put_head(to);
	put_resources(to, a);
	fputs(PROVIDER_KMS
	      "  - identity: {}   # reads what was stored before; remove when all is rewritten\n",
	      to);
}

/* For jq, where the distribution makes a configuration of its own, which is JSON. */
static void init_put_provider(FILE *to, const struct init_answers *a _unused_)
{
	fputs("{\"kms\": {\"apiVersion\": \"v2\", \"name\": \"kekd\", \"endpoint\": \"unix://" RUN
	      "/kms.sock\", \"timeout\": \"3s\"}}\n",
	      to);
}

/* Does kube-apiserver read a file that its operator has written, and edits? */
static bool has_own_file(const struct init_answers *a)
{
	return *a->existing && !a->generated;
}

/*
 * For kubeadm's --patches and for kubectl patch. Directories are mounted, and not what is in them: systemd or kekd
 * makes a new socket file when it starts anew, and cp and editors a new configuration, while a mounted file stays the
 * old one.
 */
static void put_kubeadm(FILE *to, const struct init_answers *a)
{
	if (!has_own_file(a))
		fputs("- { op: add, path: /spec/containers/0/command/-, value: "
		      "--encryption-provider-config=" IN_FORCE " }\n"
		      "- { op: add, path: /spec/containers/0/command/-, value: "
		      "--encryption-provider-config-automatic-reload=true }\n"
		      "- { op: add, path: /spec/containers/0/volumeMounts/-, value: "
		      "{ name: kekd-config, mountPath: " APISERVER ", readOnly: true } }\n"
		      "- { op: add, path: /spec/volumes/-, value: "
		      "{ name: kekd-config, hostPath: { path: " APISERVER
		      ", type: Directory } } }\n",
		      to);
	fputs("- { op: add, path: /spec/containers/0/volumeMounts/-, value: "
	      "{ name: kekd-socket, mountPath: " RUN " } }\n"
	      "- { op: add, path: /spec/volumes/-, value: "
	      "{ name: kekd-socket, hostPath: { path: " RUN ", type: DirectoryOrCreate } } }\n",
	      to);
}

static void put_arguments(FILE *to, const char *dash)
{
	fprintf(to,
		"%sencryption-provider-config=" IN_FORCE "\n"
		"%sencryption-provider-config-automatic-reload=true\n",
		dash, dash);
}

/* The plus adds to what the other files of the configuration have. */
static void put_k3s(FILE *to, const struct init_answers *a)
{
	if (has_own_file(a))
		return;
	fputs("kube-apiserver-arg+:\n", to);
	put_arguments(to, "- ");
}

static void put_rke2(FILE *to, const struct init_answers *a)
{
	put_k3s(to, a);
	fputs("kube-apiserver-extra-mount+:\n"
	      "- " RUN ":" RUN "\n",
	      to);
	if (!has_own_file(a))
		fputs("- " APISERVER ":" APISERVER ":ro\n", to);
}

/* For a kube-apiserver that somebody starts in a way of his own. */
static void put_plain(FILE *to, const struct init_answers *a _unused_)
{
	put_arguments(to, "--");
}

/* --- the files --------------------------------------------------------------------------------- */

static int check_encconf(const char *text, const char *path)
{
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	struct yaml_error err = { 0 };
	int r = encconf_parse(span_str(text), path, 0, &conf, &err);

	return r == 0 ? 0 : ctl_fail("%s", *err.text ? err.text : errno_text(r));
}

static int check_kekd(const char *text, const char *path)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct yaml_error err = { 0 };
	int r = config_parse(span_str(text), path, &c, &err);

	return r == 0 ? 0 : ctl_fail("%s", *err.text ? err.text : errno_text(r));
}

typedef void init_put_fn(FILE *to, const struct init_answers *a);

/* Printed into a text; caller frees. NULL: out of memory. */
static char *init_text(init_put_fn *put, const struct init_answers *a)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	put(f, a);
	return fclose(f) == 0 ? move_ptr(text) : NULL;
}

/* Before anything is written, the parsers that will read it check all of it. */
static int init_check(const struct init_answers *a)
{
	static const struct {
		const char *path;
		init_put_fn *put;
		int (*check)(const char *text, const char *path);
	} checks[] = {
		{ ETC "/kekd.yaml", put_kekd, check_kekd },
		{ ETC "/encryption.yaml", init_put_chain, check_encconf },
		{ APISERVER "/writer.yaml", put_writer, check_encconf },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++) {
		_cleanup_free_ char *text = init_text(checks[i].put, a);

		r = text ? checks[i].check(text, checks[i].path) : ctl_fail("out of memory");
	}
	return r;
}

static int init_one(struct place *p, const struct init_answers *a, const char *path,
		    init_put_fn *put)
{
	_cleanup_free_ char *text = init_text(put, a);

	return text ? place_file(p, path, text, NULL) : ctl_fail("out of memory");
}

static const struct init_edit {
	const char *path;
	init_put_fn *put;
} edits[INIT_DISTRIBUTIONS] = {
	[INIT_KUBEADM] = { ETC "/kubeadm/kube-apiserver+json.yaml", put_kubeadm },
	[INIT_K3S] = { ETC "/k3s/50-kekd.yaml", put_k3s },
	[INIT_RKE2] = { ETC "/rke2/50-kekd.yaml", put_rke2 },
	[INIT_PLAIN] = { ETC "/kube-apiserver.flags", put_plain },
};

/* As tpm.conf of the package's examples. */
static const char tpm_dropin[] = "# The root key's command uses the TPM.\n"
				 "[Service]\n"
				 "PrivateDevices=no\n"
				 "DeviceAllow=char-tpm rw\n";

static int place_units(struct place *p, const struct init_answers *a)
{
	_cleanup_(config_freep) struct config *c = NULL;
	_cleanup_free_ char *text = init_text(put_kekd, a);
	struct yaml_error err = { 0 };
	int r = text ? config_parse(span_str(text), ETC "/kekd.yaml", &c, &err) : -ENOMEM;

	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r));
	r = config_units_place(p, c);
	if (r == 0 && a->root == INIT_TPM)
		r = place_file(p, "/etc/systemd/system/kekd.service.d/tpm.conf", tpm_dropin, NULL);
	return r;
}

int init_place(struct place *p, const struct init_answers *a)
{
	const struct init_edit *edit = &edits[a->distribution];
	int r = init_check(a);

	if (r == 0)
		r = init_one(p, a, ETC "/kekd.yaml", put_kekd);
	if (r == 0)
		r = init_one(p, a, ETC "/encryption.yaml", init_put_chain);
	if (r == 0)
		r = place_units(p, a);
	if (r == 0 && !*a->existing)
		r = init_one(p, a, APISERVER "/reader.yaml", put_reader);
	if (r == 0 && !*a->existing)
		r = init_one(p, a, APISERVER "/writer.yaml", put_writer);
	if (r == 0 && a->generated)
		r = init_one(p, a, APISERVER "/provider.json", init_put_provider);
	/* k3s has no container around its kube-apiserver: then nothing is left to change. */
	if (r == 0 && !(a->distribution == INIT_K3S && has_own_file(a)))
		r = init_one(p, a, edit->path, edit->put);
	return r;
}

/* --- what is there already --------------------------------------------------------------------- */

/* The rest of a line behind "encryption-provider-config=", or "". */
static void find_flag(const char *root, const char *path, char *ret, size_t size)
{
	static const char flag[] = "encryption-provider-config=";
	_cleanup_fclose_ FILE *f = NULL;
	char full[512], line[1024];

	snprintf(full, sizeof(full), "%s%s", root, path);
	f = fopen(full, "re");
	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, flag);

		if (!at || line[strspn(line, " ")] == '#')
			continue;
		at += strlen(flag);
		snprintf(ret, size, "%.*s", (int)strcspn(at, " \t\r\n\"'"), at);
		return;
	}
}

static bool is_there(const struct place *p, const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", p->root, path);
	return access(full, F_OK) == 0;
}

/* With secrets-encryption, which RKE2 always has, k3s and RKE2 make an EncryptionConfiguration of their own. */
void init_find(const struct place *p, struct init_answers *a)
{
	static const struct {
		const char *config, *own;
	} where[INIT_DISTRIBUTIONS] = {
		[INIT_KUBEADM] = { "/etc/kubernetes/manifests/kube-apiserver.yaml", NULL },
		[INIT_K3S] = { "/etc/rancher/k3s/config.yaml",
			       "/var/lib/rancher/k3s/server/cred/encryption-config.json" },
		[INIT_RKE2] = { "/etc/rancher/rke2/config.yaml",
				"/var/lib/rancher/rke2/server/cred/encryption-config.json" },
	};
	const char *own = where[a->distribution].own;

	if (where[a->distribution].config)
		find_flag(p->root, where[a->distribution].config, a->existing, sizeof(a->existing));
	a->goes_by_ours = strcmp(a->existing, IN_FORCE) == 0;
	if (a->goes_by_ours)
		*a->existing = '\0';
	a->generated = !*a->existing && own && is_there(p, own);
	if (a->generated)
		snprintf(a->existing, sizeof(a->existing), "%s", own);
	a->has_seal = a->root != INIT_UNSEAL && is_there(p, ROOT_CRED);
	a->has_keyset = is_there(p, KEYS "/keyset");
}

/* --- what to type next ------------------------------------------------------------------------- */

/*
 * A root key is made once, where there is none: a second one in its place would open nothing, and the file of the first
 * would be gone.
 */
static void next_ceremony(FILE *to, const struct init_answers *a)
{
	if (a->has_seal) {
		fprintf(to,
			"# " ROOT_CRED
			" has a root key, which stays. If nobody has shares of it, make some:\n"
			"# systemd-creds decrypt --name=kekd-root " ROOT_CRED
			" - | kekctl root seal --shares %u --threshold %u\n",
			a->shares, a->threshold);
		return;
	}
	if (a->server == INIT_FURTHER || a->has_keyset) {
		fprintf(to,
			"# The root key that there is already: people type their shares of it%s\n",
			a->has_keyset ? ", as this machine has keys under it" : "");
		fputs("kekctl root restore -- ", to);
	} else {
		fputs("# There is no root key yet, and this makes it. Each share is shown once, at the terminal, to\n"
		      "# who gets it; without a terminal each takes a pipe (--share-fds). See kekd-ceremony(7)\n",
		      to);
		fprintf(to, "kekctl root create --shares %u --threshold %u -- ", a->shares,
			a->threshold);
	}
	/* The command behind -- takes the bytes on its standard input. */
	if (a->root == INIT_UNSEAL)
		fprintf(to, "kekctl unseal%s\n", a->has_keyset ? "" : " --new");
	else
		fprintf(to,
			"systemd-creds encrypt --with-key=%s --name=kekd-root - " ROOT_CRED "\n",
			a->root == INIT_TPM ? "host+tpm2" : "host");
}

static void next_apiserver(FILE *to, const struct init_answers *a)
{
	if (a->goes_by_ours) {
		fputs("# kube-apiserver goes by that file already\n", to);
		return;
	}
	switch (a->distribution) {
	case INIT_KUBEADM:
		fputs("kubectl patch --local -o yaml --type json --patch-file " ETC
		      "/kubeadm/kube-apiserver+json.yaml -f "
		      "/etc/kubernetes/manifests/kube-apiserver.yaml >/etc/kubernetes/kekd.new && mv "
		      "/etc/kubernetes/kekd.new /etc/kubernetes/manifests/kube-apiserver.yaml\n",
		      to);
		break;
	case INIT_K3S:
		if (!has_own_file(a))
			fputs("install -D -m 0600 " ETC
			      "/k3s/50-kekd.yaml /etc/rancher/k3s/config.yaml.d/50-kekd.yaml\n",
			      to);
		fputs("systemctl restart k3s\n", to);
		break;
	case INIT_RKE2:
		fputs("install -D -m 0600 " ETC
		      "/rke2/50-kekd.yaml /etc/rancher/rke2/config.yaml.d/50-kekd.yaml\n"
		      "systemctl restart rke2-server\n",
		      to);
		break;
	default:
		fputs("# Start kube-apiserver with the flags of " ETC
		      "/kube-apiserver.flags. It must see " RUN " and " APISERVER
		      ", as directories\n",
		      to);
	}
}

/* These are run once for all servers: on the one where the keys were made. */
static void next_last(FILE *to, const struct init_answers *a)
{
	if (a->server == INIT_FURTHER) {
		fputs("# When every API server has that, the first server's last commands finish it\n",
		      to);
		return;
	}
	fputs("# When every API server has that, after a good minute. Too early, it counts objects as\n"
	      "# \"current before\" that stay in plaintext until it is typed again:\n"
	      "kekctl reencrypt ",
	      to);
	for (const char *s = a->resources; *s; s++)
		fputc(*s == ',' ? ' ' : *s, to);
	fputs("\n# Do the shares open it all? Now, and at least twice a year, people type them:\n"
	      "kekctl root verify\n",
	      to);
}

/*
 * Put the configuration that reads, or the one that writes, into force. The providers of an earlier configuration stay,
 * as stored values need their keys, and kekd gets no copy of a file with keys.
 */
static void next_config(FILE *to, const struct init_answers *a, bool writer)
{
	if (has_own_file(a))
		fprintf(to,
			"# Put the provider that `kekctl config apiserver` prints %s of %s, by hand\n",
			writer ? "before the first one" : "behind the first one", a->existing);
	else if (a->generated)
		fprintf(to,
			"(umask 077 && jq --slurpfile kms " APISERVER
			"/provider.json '.resources[].providers |= %s' %s >" IN_FORCE ")\n",
			writer ? "$kms + ." : ".[:1] + $kms + .[1:]", a->existing);
	else
		fprintf(to, "cp " APISERVER "/%s.yaml " IN_FORCE "\n",
			writer ? "writer" : "reader");
}

char *init_next(const struct init_answers *a)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	if (a->root != INIT_UNSEAL)
		next_ceremony(to, a);
	fputs("systemctl enable --now kekd.socket kekd.service\n", to);
	if (a->root == INIT_UNSEAL) {
		next_ceremony(to, a);
		fputs("# After each start of kekd people type their shares:\n"
		      "# kekctl root restore -- kekctl unseal\n",
		      to);
	}
	if (a->server == INIT_FIRST)
		fprintf(to, "kekctl key create %s\n", a->key);
	else
		fputs("# Its keys come from the first server: by etcd where kekd.yaml has cluster:, or by a command\n"
		      "# that is typed there, with this server's name for THIS (kekd-keyset(5)):\n"
		      "# kekctl keyset export | ssh THIS kekctl keyset apply | kekctl keyset ack --join\n",
		      to);
	next_config(to, a, false);
	/* Root is not always among the peers, so the probe runs as kube-apiserver does. */
	fputs("kekctl probe ", to);
	if (a->apiserver.uid != 0)
		fprintf(to, "--as %u:%u ", a->apiserver.uid, a->apiserver.gid);
	fprintf(to, "%s\n", has_own_file(a) ? a->existing : IN_FORCE);
	next_apiserver(to, a);
	fputs("# When every API server has that:\n", to);
	next_config(to, a, true);
	next_last(to, a);
	return fclose(to) == 0 ? move_ptr(text) : NULL;
}
