/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl probe: what kube-apiserver will meet. This process becomes what kube-apiserver is (its uid, its
 * groups and, with --pid, its mounts), reads its EncryptionConfiguration, and asks each KMS plugin that
 * stands there what kube-apiserver asks at its start. Nothing is stored; what is encrypted is random.
 *
 * Findings are the doctor's: what is, what it means, the cure. Becoming somebody else is for good: what needs
 * root is asked before.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/chain/encconf.h"
#include "daemon/ctl/doctor.h"
#include "daemon/ctl/input.h"
#include "daemon/ctl/probe.h"
#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"

#define POOL_BYTES  (1024 * 1024)
#define DEFAULT_NS  INT64_C(3000000000) /* kube-apiserver's own default */
#define SEED_BYTES  32
#define CONFIG_FLAG "--encryption-provider-config"

struct probe {
	struct doctor d;
	struct secpool *pool;
	bool pod; /* in the mounts of a process: what is missing there is a mount */
	char config[512];
};

/* One plugin, as the configuration has it; version 1 or 2. */
struct plugin {
	const char *path;
	unsigned int version;
	int64_t timeout;
	char key_id[KEKD_KMS_KEY_ID_MAX + 1];
};

/* What differs between the two versions of the API. */
static const struct probe_api {
	const char *status, *encrypt, *decrypt;
	enum pb_message status_request, status_response, encrypt_request, encrypt_response,
		decrypt_request, decrypt_response;
} apis[] = {
	[1] = { "/v1beta1.KeyManagementService/Version", "/v1beta1.KeyManagementService/Encrypt",
		"/v1beta1.KeyManagementService/Decrypt", PB_V1_VERSION_REQUEST,
		PB_V1_VERSION_RESPONSE, PB_V1_ENCRYPT_REQUEST, PB_V1_ENCRYPT_RESPONSE,
		PB_V1_DECRYPT_REQUEST, PB_V1_DECRYPT_RESPONSE },
	[2] = { "/v2.KeyManagementService/Status", "/v2.KeyManagementService/Encrypt",
		"/v2.KeyManagementService/Decrypt", PB_V2_STATUS_REQUEST, PB_V2_STATUS_RESPONSE,
		PB_V2_ENCRYPT_REQUEST, PB_V2_ENCRYPT_RESPONSE, PB_V2_DECRYPT_REQUEST,
		PB_V2_DECRYPT_RESPONSE },
};

/* --- who kube-apiserver is --------------------------------------------------------------------- */

static int probe_take_number(const char **s, char end, uint32_t *ret)
{
	char *rest;
	unsigned long long n;

	if (**s < '0' || **s > '9')
		return -EINVAL;
	n = strtoull(*s, &rest, 10);
	if (n >= UINT32_MAX || (*rest && *rest != end))
		return -EINVAL;
	*s = *rest ? rest + 1 : rest;
	*ret = (uint32_t)n;
	return 0;
}

int peer_parse(const char *text, struct peer *ret)
{
	struct peer p = { 0 };
	const char *s = text;
	int r = probe_take_number(&s, ':', &p.uid);

	p.gid = p.uid;
	if (r == 0 && s[-1] == ':')
		r = probe_take_number(&s, ',', &p.gid);
	while (r == 0 && *s) {
		if (p.n_groups == ARRAY_SIZE(p.groups))
			return -E2BIG;
		r = probe_take_number(&s, ',', &p.groups[p.n_groups++]);
	}
	if (r == 0)
		*ret = p;
	return r;
}

/* A line of /proc/PID/status; "Uid:" has real, effective, saved and that of file systems. */
static void take_status(const char *line, struct peer *p)
{
	int used = 0;

	if (sscanf(line, "Uid: %*u %u", &p->uid) == 1 || sscanf(line, "Gid: %*u %u", &p->gid) == 1)
		return;
	if (strncmp(line, "Groups:", strlen("Groups:")) != 0)
		return;
	line += strlen("Groups:");
	while (p->n_groups < ARRAY_SIZE(p->groups) &&
	       sscanf(line, " %u%n", &p->groups[p->n_groups], &used) == 1) {
		p->n_groups++;
		line += used;
	}
}

static int peer_of(const char *pid, struct peer *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct peer p = { 0 };
	char path[64], line[8192];

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	f = fopen(path, "re");
	if (!f)
		return ctl_fail("no process %s: %s; name that of kube-apiserver: --pid $(pgrep -o "
				"kube-apiserver)",
				pid, errno_text(errno));
	while (fgets(line, sizeof(line), f))
		take_status(line, &p);
	*ret = p;
	return 0;
}

/* The file that the process was given as --encryption-provider-config, if it was. */
static void config_of(struct probe *p, const char *pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *arg = NULL;
	bool next = false;
	char path[64];
	size_t size = 0;

	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	f = fopen(path, "re");
	while (f && getdelim(&arg, &size, '\0', f) > 0) {
		if (next || strncmp(arg, CONFIG_FLAG "=", strlen(CONFIG_FLAG "=")) == 0)
			snprintf(p->config, sizeof(p->config), "%s",
				 next ? arg : arg + strlen(CONFIG_FLAG "="));
		next = strcmp(arg, CONFIG_FLAG) == 0;
	}
}

/* --- one plugin -------------------------------------------------------------------------------- */

static int64_t probe_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* @text as a plugin sent it, with a '?' for what no terminal should get. */
static const char *shown(struct span text, char ret[static 128])
{
	size_t n = text.len < 127 ? text.len : 127;

	for (size_t i = 0; i < n; i++)
		ret[i] = (char)(text.data[i] >= ' ' && text.data[i] < 0x7f ? text.data[i] : '?');
	ret[n] = '\0';
	return ret;
}

static void report_closed_way(struct probe *p, const struct plugin *g)
{
	struct stat st;

	if (stat(g->path, &st) < 0)
		doctor_report(&p->d, DOCTOR_PROBLEM, "connect",
			      "every directory of the path needs the mode 0755",
			      "%s: uid %u may not pass a directory on the way", g->path, geteuid());
	else
		doctor_report(&p->d, DOCTOR_PROBLEM, "connect",
			      "in kekd.yaml: socketMode: \"0660\" and socketGroup: a group of "
			      "kube-apiserver; then kekctl config units",
			      "%s: uid %u gid %u may not connect: mode %04o, owner %u, group %u",
			      g->path, geteuid(), getegid(), st.st_mode & 07777, st.st_uid,
			      st.st_gid);
}

static void report_no_way(struct probe *p, const struct plugin *g, int e)
{
	const char *cure = "systemctl start kekd.socket; is the endpoint a socket of kekd.yaml?";

	switch (e) {
	case EACCES:
	case EPERM:
		report_closed_way(p, g);
		break;
	case ENOENT:
	case ENOTDIR:
		if (p->pod)
			cure = "mount the socket's directory into kube-apiserver: a volume "
			       "hostPath of it, mounted at the same path; kekctl init has the lines";
		doctor_report(&p->d, DOCTOR_PROBLEM, "connect", cure, "%s: there is no such file%s",
			      g->path, p->pod ? " in the mounts of that process" : "");
		break;
	case ECONNREFUSED:
		cure = "systemctl restart kekd.socket kekd.service";
		if (p->pod)
			cure = "mount the socket's directory into kube-apiserver, not the socket: "
			       "a mounted socket is the old one after kekd has made a new one";
		doctor_report(&p->d, DOCTOR_PROBLEM, "connect", cure, "%s: nobody listens there",
			      g->path);
		break;
	default:
		doctor_report(&p->d, DOCTOR_PROBLEM, "connect",
			      "is the endpoint a socket of kekd.yaml?", "%s: %s", g->path,
			      errno_text(e));
	}
}

/* connect(2) alone tells why a path leads nowhere; a call would only say that it is unavailable. */
static bool can_connect(struct probe *p, const struct plugin *g)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int e = 0;

	if (strlen(g->path) >= sizeof(addr.sun_path))
		e = ENAMETOOLONG;
	else
		memcpy(addr.sun_path, g->path, strlen(g->path));
	if (e == 0 && (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0))
		e = errno;
	if (e == 0 || e == EAGAIN) /* its queue is full: somebody listens */
		return true;
	report_no_way(p, g, e);
	return false;
}

static void report_refused(struct probe *p, const struct plugin *g, const char *step,
			   const struct grpc_outcome *out)
{
	char cure[128] = "journalctl -u kekd; kekctl doctor";

	if (out->status == GRPC_UNAVAILABLE && strcmp(step, "Status") == 0)
		snprintf(cure, sizeof(cure),
			 "in kekd.yaml: allowedPeers: { uids: [%u] }; then systemctl reload kekd; "
			 "otherwise journalctl -u kekd",
			 geteuid());
	else if (out->status == GRPC_DEADLINE_EXCEEDED)
		snprintf(cure, sizeof(cure),
			 "a longer timeout: of the provider; journalctl -u kekd");
	else if (out->status == GRPC_UNIMPLEMENTED)
		snprintf(cure, sizeof(cure), "apiVersion: v2 of the kms provider");
	doctor_report(&p->d, DOCTOR_PROBLEM, step, cure, "%s: uid %u gid %u is refused, %s: %s",
		      g->path, geteuid(), getegid(), grpc_status_name(out->status), out->text);
}

/* One call. Its answer is decoded into *@rsp, which points into *@msg; 0 or 1, reported. */
static int probe_call(struct probe *p, const struct plugin *g, const char *step, const char *method,
		      enum pb_message request, const struct kms_request *req,
		      enum pb_message response, struct secbuf *msg, struct kms_response *rsp,
		      int64_t *ret_ns)
{
	_cleanup_secbuf_ struct secbuf out = { 0 };
	struct grpc_outcome outcome = { 0 };
	int64_t start;
	int r;

	r = secpool_get(p->pool, 2048, &out);
	if (r == 0)
		r = pb_encode_request(request, req, &out);
	start = probe_now();
	if (r == 0)
		r = grpc_client_call_sync(g->path, method, span_of(out.data, out.len),
					  (uint64_t)g->timeout, p->pool, &outcome);
	*ret_ns = probe_now() - start;
	if (r < 0) {
		doctor_report(&p->d, DOCTOR_PROBLEM, step, "run it again", "%s: %s", g->path,
			      errno_text(r));
		return 1;
	}
	*msg = secbuf_move(&outcome.msg);
	if (outcome.status != GRPC_OK) {
		report_refused(p, g, step, &outcome);
		return 1;
	}
	if (pb_decode_response(response, span_of(msg->data, msg->len), rsp) == 0)
		return 0;
	doctor_report(&p->d, DOCTOR_PROBLEM, step, "is that socket a KMS plugin's?",
		      "%s: the answer is none of KMS v%u", g->path, g->version);
	return 1;
}

static void report_well(struct probe *p, const struct plugin *g, const char *step, int64_t ns,
			const char *more)
{
	doctor_report(&p->d, DOCTOR_OK, step, "", "%s: %" PRId64 ".%03" PRId64 " ms%s%s", g->path,
		      ns / 1000000, ns / 1000 % 1000, *more ? ", " : "", more);
}

/* k8s.io/apiserver, encryptionconfig: what a v2 plugin's Status must be for it to be healthy. */
static int check_v2_status(struct probe *p, struct plugin *g, const struct kms_response *rsp)
{
	char text[128];

	if (!span_equal(rsp->healthz, span_str("ok")))
		doctor_report(&p->d, DOCTOR_PROBLEM, "Status", "kekctl doctor",
			      "%s: not healthy: \"%s\"", g->path, shown(rsp->healthz, text));
	else if (!span_equal(rsp->version, span_str("v2")) &&
		 !span_equal(rsp->version, span_str("v2beta1")))
		doctor_report(&p->d, DOCTOR_PROBLEM, "Status", "ask who made that plugin",
			      "%s: its version is \"%s\", and kube-apiserver takes v2", g->path,
			      shown(rsp->version, text));
	else if (rsp->key_id.len == 0 || rsp->key_id.len > KEKD_KMS_KEY_ID_MAX)
		doctor_report(&p->d, DOCTOR_PROBLEM, "Status", "kekctl doctor",
			      "%s: its key_id has %zu bytes, and kube-apiserver takes 1 to %d",
			      g->path, rsp->key_id.len, KEKD_KMS_KEY_ID_MAX);
	else {
		memcpy(g->key_id, rsp->key_id.data, rsp->key_id.len);
		return 0;
	}
	return 1;
}

static int ask_status(struct probe *p, struct plugin *g)
{
	const struct probe_api *api = &apis[g->version];
	const struct kms_request req = { .version = span_str(g->version == 1 ? "v1beta1" : "") };
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	_cleanup_(pb_response_done) struct kms_response rsp = { 0 };
	char text[128], more[160] = "";
	int64_t ns;

	if (probe_call(p, g, "Status", api->status, api->status_request, &req, api->status_response,
		       &msg, &rsp, &ns) != 0)
		return 1;
	if (g->version == 2) {
		if (check_v2_status(p, g, &rsp) != 0)
			return 1;
		snprintf(more, sizeof(more), "key_id %s", shown(rsp.key_id, text));
	}
	report_well(p, g, "Status", ns, more);
	return 0;
}

static int ask_encrypt(struct probe *p, struct plugin *g, struct span seed, uint8_t *ret,
		       size_t *len)
{
	const struct probe_api *api = &apis[g->version];
	const struct kms_request req = { .data = seed,
					 .uid = span_str("kekctl-probe"),
					 .version = span_str(g->version == 1 ? "v1beta1" : "") };
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	_cleanup_(pb_response_done) struct kms_response rsp = { 0 };
	int64_t ns;

	if (probe_call(p, g, "Encrypt", api->encrypt, api->encrypt_request, &req,
		       api->encrypt_response, &msg, &rsp, &ns) != 0)
		return 1;
	if (rsp.data.len == 0 || rsp.data.len > KEKD_KMS_CIPHERTEXT_MAX) {
		doctor_report(&p->d, DOCTOR_PROBLEM, "Encrypt", "ask who made that plugin",
			      "%s: a ciphertext of %zu bytes, and kube-apiserver takes 1 to %d",
			      g->path, rsp.data.len, KEKD_KMS_CIPHERTEXT_MAX);
		return 1;
	}
	memcpy(ret, rsp.data.data, rsp.data.len);
	*len = rsp.data.len;
	if (g->version == 2 && !span_equal(rsp.key_id, span_str(g->key_id)))
		doctor_report(&p->d, DOCTOR_WARNING, "Encrypt", "run it again",
			      "%s: written with another key_id than Status has: rotated just now?",
			      g->path);
	else
		report_well(p, g, "Encrypt", ns, "");
	return 0;
}

static void ask_decrypt(struct probe *p, struct plugin *g, struct span wrapped, struct span seed)
{
	const struct probe_api *api = &apis[g->version];
	const struct kms_request req = { .data = wrapped,
					 .uid = span_str("kekctl-probe"),
					 .key_id = span_str(g->key_id),
					 .version = span_str(g->version == 1 ? "v1beta1" : "") };
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	_cleanup_(pb_response_done) struct kms_response rsp = { 0 };
	int64_t ns;

	if (probe_call(p, g, "Decrypt", api->decrypt, api->decrypt_request, &req,
		       api->decrypt_response, &msg, &rsp, &ns) != 0)
		return;
	if (rsp.data.len == seed.len && ct_equal(rsp.data.data, seed.data, seed.len))
		report_well(p, g, "Decrypt", ns, "what was encrypted is what is read");
	else
		doctor_report(&p->d, DOCTOR_PROBLEM, "Decrypt",
			      "do not write with it; ask who made that plugin",
			      "%s: another plaintext than was encrypted", g->path);
}

static void probe_plugin(struct probe *p, struct plugin *g)
{
	uint8_t seed[SEED_BYTES], wrapped[KEKD_KMS_CIPHERTEXT_MAX];
	size_t len = 0;

	if (random_bytes(seed, sizeof(seed)) < 0)
		return doctor_report(&p->d, DOCTOR_PROBLEM, "Encrypt", "", "no random bytes");
	if (!can_connect(p, g) || ask_status(p, g) != 0 ||
	    ask_encrypt(p, g, span_of(seed, sizeof(seed)), wrapped, &len) != 0)
		return;
	ask_decrypt(p, g, span_of(wrapped, len), span_of(seed, sizeof(seed)));
}

/* --- its configuration ------------------------------------------------------------------------- */

/* Was this plugin asked for an earlier item of the file? */
static bool asked_before(const struct encconf *conf, const struct encconf_provider *at)
{
	for (size_t i = 0; i < conf->items_count; i++) {
		const struct encconf_item *item = &conf->items[i];

		for (size_t k = 0; k < item->providers_count; k++) {
			const struct encconf_provider *o = &item->providers[k];

			if (o == at)
				return false;
			if (o->kind == ENCCONF_KMS && strcmp(o->kms.path, at->kms.path) == 0 &&
			    o->kms.version == at->kms.version)
				return true;
		}
	}
	return false;
}

static void probe_provider(struct probe *p, const struct encconf_provider *provider)
{
	struct plugin g = { .path = provider->kms.path,
			    .version = provider->kms.version,
			    .timeout = provider->kms.timeout };

	if (provider->kms.abstract) {
		doctor_report(&p->d, DOCTOR_PROBLEM, "connect", "unix:///run/kekd/kms.sock",
			      "%s: an abstract socket, which whoever comes first may take",
			      provider->kms.path);
		return;
	}
	if (provider->kms.version == 1)
		doctor_report(&p->d, DOCTOR_WARNING, "configuration",
			      "apiVersion: v2 of the kms provider",
			      "kms v1 of \"%s\": kube-apiserver 1.29 and later refuse it without "
			      "--feature-gates=KMSv1=true",
			      provider->kms.name);
	probe_plugin(p, &g);
}

static void report_first(struct probe *p, const struct encconf_item *item)
{
	const char *first = item->resources_count > 0 ? item->resources[0].name : "";

	switch (item->providers[0].kind) {
	case ENCCONF_KMS:
		doctor_report(&p->d, DOCTOR_OK, "configuration", "", "%s: written through \"%s\"",
			      first, item->providers[0].kms.name);
		break;
	case ENCCONF_IDENTITY:
		doctor_report(&p->d, DOCTOR_WARNING, "configuration",
			      "put the kms provider first when every API server can read with it",
			      "%s: read through the plugin, and still written as plaintext", first);
		break;
	default:
		doctor_report(&p->d, DOCTOR_WARNING, "configuration",
			      "put the kms provider first when every API server can read with it",
			      "%s: still written with a key of this file", first);
	}
}

static int probe_config(struct probe *p)
{
	_cleanup_(input_release) struct input in = { 0 };
	_cleanup_(encconf_freep) struct encconf *conf = NULL;
	struct yaml_error err = { 0 };
	bool any = false;
	int r;

	if (input_read(p->config, &in) != 0)
		return 1;
	r = encconf_parse(input_span(&in), p->config, ENCCONF_ALLOW_SECRETS, &conf, &err);
	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r));
	for (size_t i = 0; i < conf->items_count; i++) {
		const struct encconf_item *item = &conf->items[i];

		report_first(p, item);
		for (size_t k = 0; k < item->providers_count; k++) {
			const struct encconf_provider *provider = &item->providers[k];

			any = any || provider->kind == ENCCONF_KMS;
			if (provider->kind == ENCCONF_KMS && !asked_before(conf, provider))
				probe_provider(p, provider);
		}
	}
	if (!any)
		doctor_report(&p->d, DOCTOR_PROBLEM, "configuration", "kekctl config apiserver",
			      "%s: no kms provider, so kekd is never asked", p->config);
	return 0;
}

/* --- the command ------------------------------------------------------------------------------- */

static int probe_run(struct probe *p, const struct ctl *ctl)
{
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)] = "";
	struct plugin g = { .path = socket, .version = 2, .timeout = DEFAULT_NS };
	struct peer who = { 0 };
	char root[64];

	if (ctl->pid && !ctl->as && peer_of(ctl->pid, &who) != 0)
		return 1;
	if (ctl->as && peer_parse(ctl->as, &who) < 0)
		return ctl_usage("--as takes UID, or UID:GID, or UID:GID,GROUP,..., as numbers");
	if (ctl->pid && !*p->config)
		config_of(p, ctl->pid);
	if (!*p->config && ctl_kms_socket(ctl, socket, sizeof(socket)) != 0)
		return 1;
	if (ctl->pid) {
		/* Into the mounts of the process, whose paths are those of its configuration. */
		snprintf(root, sizeof(root), "/proc/%s/root", ctl->pid);
		if (chroot(root) < 0 || chdir("/") < 0)
			return ctl_fail("cannot see the mounts of process %s: %s; be root",
					ctl->pid, errno_text(errno));
	}
	if ((ctl->pid || ctl->as) &&
	    (setgroups(who.n_groups, who.groups) < 0 || setresgid(who.gid, who.gid, who.gid) < 0 ||
	     setresuid(who.uid, who.uid, who.uid) < 0))
		return ctl_fail("cannot become uid %u: %s; be root", who.uid, errno_text(errno));
	doctor_report(&p->d, DOCTOR_OK, "identity", "", "uid %u gid %u%s%s", geteuid(), getegid(),
		      ctl->pid ? ", in the mounts of process " : "", ctl->pid ? ctl->pid : "");
	if (*p->config)
		return probe_config(p);
	probe_plugin(p, &g);
	return 0;
}

int ctl_probe(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	struct probe p = { .d = { .ctl = ctl, .root = "" }, .pod = ctl->pid };
	int r;

	if (argc > 1)
		return ctl_usage("probe takes at most one file, kube-apiserver's "
				 "EncryptionConfiguration");
	if (ctl->pid && (!*ctl->pid || strspn(ctl->pid, "0123456789") != strlen(ctl->pid)))
		return ctl_usage("--pid takes the number of a process, kube-apiserver's");
	if (ctl->pid &&
	    ((argc == 1 && argv[0][0] != '/') || (ctl->socket && ctl->socket[0] != '/')))
		return ctl_usage(
			"with --pid a path is one of that process, from its root: it begins "
			"with \"/\"");
	if (argc == 1 && ctl->socket)
		return ctl_usage("probe takes a file or --socket, not both");
	if (argc == 1 &&
	    (size_t)snprintf(p.config, sizeof(p.config), "%s", argv[0]) >= sizeof(p.config))
		return ctl_fail("%s: path too long", argv[0]);
	p.d.findings = json_array();
	if (!p.d.findings || secpool_new(POOL_BYTES, &pool) < 0)
		r = ctl_fail("out of memory");
	else {
		p.pool = pool;
		r = probe_run(&p, ctl);
	}
	if (r == 0)
		r = doctor_print(&p.d);
	json_decref(p.d.findings);
	return r;
}
