/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin that is given up may be in the middle of one of its own callbacks, so it is only put on the
 * list of those to be ended; upstreams_flush() stops its client and frees it once it is idle.
 */
#include "daemon/kms/upstream.h"

#include <errno.h>

#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"

struct upstreams {
	struct upstream_source source; /* first */
	struct ring *ring;
	struct secpool *pool;
	upstream_connect_fn *connect;
	void *ctx;
	uint32_t ids;
	struct list open, given_up;
};

struct plugin {
	struct upstream upstream; /* first */
	struct upstreams *owner;
	struct list link;
	uint32_t id;
	unsigned int version;
	struct secpool *pool; /* its share of the owner's: one that hangs takes no other's memory */
	struct grpc_client *client;
	unsigned int decrypts; /* open ones */
	bool stopped;
	struct upstream_stat stat; /* since it was last taken */
	char path[];
};

struct upstream_call {
	struct plugin *plugin; /* borrowed: it outlives its calls */
	struct grpc_client_call *call;
	upstream_done_fn *done;
	void *ctx;
	enum upstream_method method;
	enum pb_message answer;
};

static const struct method {
	const char *path;
	enum pb_message request, response;
} methods[2][3] = {
	{
		[UPSTREAM_ENCRYPT] = { "/v1beta1.KeyManagementService/Encrypt",
				       PB_V1_ENCRYPT_REQUEST, PB_V1_ENCRYPT_RESPONSE },
		[UPSTREAM_DECRYPT] = { "/v1beta1.KeyManagementService/Decrypt",
				       PB_V1_DECRYPT_REQUEST, PB_V1_DECRYPT_RESPONSE },
	},
	{
		[UPSTREAM_STATUS] = { "/v2.KeyManagementService/Status", PB_V2_STATUS_REQUEST,
				      PB_V2_STATUS_RESPONSE },
		[UPSTREAM_ENCRYPT] = { "/v2.KeyManagementService/Encrypt", PB_V2_ENCRYPT_REQUEST,
				       PB_V2_ENCRYPT_RESPONSE },
		[UPSTREAM_DECRYPT] = { "/v2.KeyManagementService/Decrypt", PB_V2_DECRYPT_REQUEST,
				       PB_V2_DECRYPT_RESPONSE },
	},
};

/* What a plugin's refusal means; of most plugins everything is UNKNOWN. */
static int error_of(enum grpc_status status, enum upstream_method method)
{
	bool about_value = method == UPSTREAM_DECRYPT;

	switch (status) {
	case GRPC_UNAVAILABLE:
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_CANCELLED:
		return -EHOSTUNREACH;
	case GRPC_RESOURCE_EXHAUSTED:
		return -ENOBUFS;
	case GRPC_DATA_LOSS:
	case GRPC_INVALID_ARGUMENT:
		return about_value ? -EBADMSG : -EPROTO;
	case GRPC_FAILED_PRECONDITION:
		return about_value ? -ENOKEY : -EREMOTEIO;
	case GRPC_UNIMPLEMENTED:
		return -EPROTO;
	default:
		return -EREMOTEIO;
	}
}

static void call_free(struct upstream_call *c)
{
	c->plugin->decrypts -= c->method == UPSTREAM_DECRYPT;
	free(c);
}

static void plugin_done(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct upstream_call *c = ctx;
	struct upstream_stat *stat = &c->plugin->stat;
	struct kms_response rsp = { 0 };
	struct upstream_answer answer;
	int r = status == GRPC_OK ? 0 : error_of(status, c->method);

	if (r == 0 && pb_decode_response(c->answer, span_of(msg->data, msg->len), &rsp) < 0) {
		r = -EPROTO;
		text = "the answer is no protobuf";
	}
	answer = (struct upstream_answer){
		.data = rsp.data,
		.key_id = rsp.key_id,
		.version = rsp.version,
		.healthz = rsp.healthz,
		.annotations = rsp.annotations,
	};
	/* A value that the plugin cannot open says nothing about the plugin. */
	stat->last = r == -EBADMSG || r == -ENOKEY ? 0 : r;
	stat->calls++;
	stat->failures += stat->last < 0;
	c->done(c->ctx, r, text, r == 0 ? &answer : NULL);
	pb_response_done(&rsp);
	call_free(c);
}

static int upstream_encode(const struct plugin *p, const struct upstream_request *req,
			   struct secbuf *ret)
{
	_cleanup_secbuf_ struct secbuf body = { 0 };
	struct kms_request kms = { .data = req->data };
	int r;

	if (p->version == 1) {
		kms.version = span_str("v1beta1");
	} else {
		kms.uid = req->uid;
		kms.key_id = req->key_id;
		kms.annotations = req->annotations;
	}
	r = secpool_get(p->pool, req->data.len + 256, &body);
	if (r == 0)
		r = pb_encode_request(methods[p->version - 1][req->method].request, &kms, &body);
	if (r < 0)
		return r;
	*ret = secbuf_move(&body);
	return 0;
}

static int plugin_call(struct upstream *u, const struct upstream_request *req,
		       upstream_done_fn *done, void *ctx, struct upstream_call **ret)
{
	struct plugin *p = container_of(u, struct plugin, upstream);
	const struct method *m = &methods[p->version - 1][req->method];
	_cleanup_free_ struct upstream_call *c = calloc(1, sizeof(*c));
	_cleanup_secbuf_ struct secbuf body = { 0 };
	int r;

	if (!c)
		return -ENOMEM;
	if (!m->path)
		return -EOPNOTSUPP;
	if (req->method == UPSTREAM_DECRYPT && p->decrypts >= UPSTREAM_DECRYPTS)
		return -ENOBUFS;
	*c = (struct upstream_call){
		.plugin = p,
		.done = done,
		.ctx = ctx,
		.method = req->method,
		.answer = m->response,
	};
	r = upstream_encode(p, req, &body);
	if (r == 0)
		r = grpc_client_call(p->client, m->path, span_of(body.data, body.len),
				     req->timeout_ns, GRPC_WAIT_FOR_READY, plugin_done, c,
				     &c->call);
	if (r < 0)
		return r;
	p->decrypts += req->method == UPSTREAM_DECRYPT;
	*ret = move_ptr(c);
	return 0;
}

static void plugin_cancel(struct upstream_call *c)
{
	grpc_client_cancel(c->call);
	call_free(c);
}

static void plugin_free(struct upstream *u)
{
	struct plugin *p = container_of(u, struct plugin, upstream);

	list_del(&p->link);
	list_add_tail(&p->owner->given_up, &p->link);
}

static const struct upstream_ops plugin_ops = { plugin_call, plugin_cancel, plugin_free };

static int plugin_connect(void *ctx)
{
	struct plugin *p = ctx;

	return p->owner->connect(p->owner->ctx, p->id, p->path);
}

static int plugin_open(struct upstream_source *source, const char *path, unsigned int version,
		       struct upstream **ret)
{
	struct upstreams *u = container_of(source, struct upstreams, source);
	_cleanup_free_ struct plugin *p = calloc(1, sizeof(*p) + strlen(path) + 1);
	struct grpc_client_config config = {
		.ring = u->ring,
		.path = path,
		.message_bytes = KEKD_GRPC_MESSAGE_MAX,
		.calls = UPSTREAM_CALLS,
		.idle_ns = grpc_limits_default.idle_ns,
		.connect = plugin_connect,
		.connect_ctx = p,
	};
	int r;

	if (!p)
		return -ENOMEM;
	r = secpool_new_below(u->pool, &p->pool);
	if (r < 0)
		return r;
	config.pool = p->pool;
	r = grpc_client_new(&config, &p->client);
	if (r < 0) {
		secpool_free(p->pool);
		return r;
	}
	p->upstream.ops = &plugin_ops;
	p->owner = u;
	p->id = ++u->ids;
	p->version = version;
	memcpy(p->path, path, strlen(path) + 1);
	list_add_tail(&u->open, &p->link);
	*ret = &move_ptr(p)->upstream;
	return 0;
}

int upstreams_new(struct ring *ring, struct secpool *pool, upstream_connect_fn *connect, void *ctx,
		  struct upstreams **ret)
{
	struct upstreams *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->source.open = plugin_open;
	u->ring = ring;
	u->pool = pool;
	u->connect = connect;
	u->ctx = ctx;
	list_init(&u->open);
	list_init(&u->given_up);
	*ret = u;
	return 0;
}

static void plugin_end(struct plugin *p)
{
	list_del(&p->link);
	grpc_client_free(p->client);
	secpool_free(p->pool);
	free(p);
}

void upstreams_free(struct upstreams *u)
{
	if (!u)
		return;
	list_for_each_safe (n, &u->given_up)
		plugin_end(list_entry(n, struct plugin, link));
	free(u);
}

struct upstream_source *upstreams_source(struct upstreams *u)
{
	return &u->source;
}

void upstreams_connected(struct upstreams *u, uint32_t id, int fd, int r)
{
	list_for_each (n, &u->open) {
		struct plugin *p = list_entry(n, struct plugin, link);

		if (p->id == id) {
			grpc_client_connected(p->client, fd, r);
			return;
		}
	}
	if (r == 0)
		close(fd); /* given up meanwhile */
}

void upstreams_flush(struct upstreams *u)
{
	list_for_each_safe (n, &u->open)
		grpc_client_flush(list_entry(n, struct plugin, link)->client);
	list_for_each_safe (n, &u->given_up) {
		struct plugin *p = list_entry(n, struct plugin, link);

		if (!p->stopped)
			grpc_client_stop(p->client);
		else
			grpc_client_flush(p->client);
		p->stopped = true;
		if (grpc_client_idle(p->client))
			plugin_end(p);
	}
}

void upstreams_stats_take(struct upstreams *u, upstream_stat_fn *each, void *ctx)
{
	list_for_each (n, &u->open) {
		struct plugin *p = list_entry(n, struct plugin, link);

		each(ctx, p->path, &p->stat);
		p->stat.calls = p->stat.failures = 0;
	}
}
