/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is one block of locked memory with an op for each value; the message it came in and one
 * buffer for all results stand beside it, and one more for a result that grew. All of it counts against
 * the connection's share, and each value against its share of calls. All ops are started at once, so the engine sees them in
 * one turn. The call is answered when the last has ended. If the client goes away, the call lives on
 * until the engine has let go of everything, and ends without an answer.
 */
#include "daemon/kms/transform.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/chain/own.h"

struct transform_service {
	kms_event_fn *event;
	void *event_ctx;
	unsigned int busy;
	size_t n_items;
	struct transform_item items[];
};

enum transform_what { TO_STORAGE, FROM_STORAGE, VERIFY };

static const char *const what_names[] = {
	[TO_STORAGE] = "transform.ToStorage",
	[FROM_STORAGE] = "transform.FromStorage",
	[VERIFY] = "transform.Verify",
};

static const char no_item[] =
	"no item of the encryption configuration is for this resource; give its name, as in "
	"\"secrets\" or \"deployments.apps\"";

struct transform_call;

struct transform_op {
	struct op op;
	struct transform_call *call;
	struct secbuf own; /* in place of its part of the call's, when that was too small */
	int r;
};

struct transform_call {
	struct transform_service *service;
	struct grpc_call *grpc; /* NULL: gone */
	struct secpool *pool;   /* the call's; good while a buffer of it is held */
	struct span resource;   /* in the message */
	struct secbuf self, msg, out;
	enum transform_what what;
	uint64_t started_ns;
	size_t n, left; /* values; of them under way, and one more while they are being started */
	struct transform_op ops[];
};

int transform_service_new(const struct transform_item *items, size_t n, kms_event_fn *event,
			  void *ctx, struct transform_service **ret)
{
	struct transform_service *s = calloc(1, sizeof(*s) + n * sizeof(*items));

	if (!s)
		return -ENOMEM;
	s->event = event;
	s->event_ctx = ctx;
	s->n_items = n;
	transform_service_set_items(s, items);
	*ret = s;
	return 0;
}

void transform_service_free(struct transform_service *s)
{
	free(s);
}

void transform_service_set_items(struct transform_service *s, const struct transform_item *items)
{
	memcpy(s->items, items, s->n_items * sizeof(*items));
}

unsigned int transform_service_busy(const struct transform_service *s)
{
	return s->busy;
}

/*
 * "*.*" is everything, "*." the core group, "*.apps" that group (types_encryption.go). The group of "deployments.apps"
 * is "apps", that of "secrets" is empty.
 */
static bool transform_covers(const char *pattern, struct span resource)
{
	struct span group = SPAN_NULL;
	const uint8_t *dot;

	if (strcmp(pattern, "*.*") == 0)
		return true;
	if (strncmp(pattern, "*.", 2) != 0)
		return span_equal(span_str(pattern), resource);
	dot = resource.len > 0 ? memchr(resource.data, '.', resource.len) : NULL;
	if (dot)
		group = span_skip(resource, (size_t)(dot - resource.data) + 1);
	return span_equal(group, span_str(pattern + 2));
}

int transform_find(const struct transform_item *items, size_t n, struct span resource,
		   size_t *ret_index)
{
	if (resource.len == 0) {
		if (n != 1)
			return -ENOENT;
		*ret_index = 0;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < items[i].conf->resources_count; j++) {
			if (!transform_covers(items[i].conf->resources[j].name, resource))
				continue;
			*ret_index = i;
			return 0;
		}
	}
	return -ENOENT;
}

static void call_put(struct transform_call *c)
{
	struct secbuf self = c->self;

	c->service->busy--;
	for (size_t i = 0; i < c->n; i++)
		secbuf_release(&c->ops[i].own);
	secbuf_release(&c->msg);
	secbuf_release(&c->out);
	secbuf_release(&self);
}

static void result_of(const struct transform_op *o, struct transform_result *ret)
{
	enum grpc_status status;
	const char *text;

	*ret = (struct transform_result){ 0 };
	if (o->r < 0) {
		if (o->r == -ENOENT) {
			status = GRPC_INVALID_ARGUMENT;
			text = no_item;
		} else {
			kms_answer(o->r, &status, &text);
		}
		ret->code = (int32_t)status;
		ret->message = span_str(text);
	} else {
		if (o->call->what != VERIFY)
			ret->value = span_of(o->op.out, o->op.out_len);
		ret->stale = o->op.stale;
		ret->doubtful = o->op.doubtful;
	}
	if (o->op.provider) {
		ret->provider = span_str(o->op.provider);
		ret->key_id = span_str(o->op.key_id);
	}
}

/* Upper bound of a result's bytes beside its value: tags, lengths, texts. */
#define RESULT_ROOM 512

static int transform_answer(struct transform_call *c)
{
	_cleanup_secbuf_ struct secbuf body = { 0 }, results = { 0 };
	struct transform_result *result;
	size_t room = 0;
	int r;

	secbuf_release(&c->msg); /* a large one's room is for the answer */
	r = secpool_get(c->pool, (c->n + 1) * sizeof(*result), &results);
	if (r < 0)
		return r;
	result = (void *)results.data;
	for (size_t i = 0; i < c->n; i++) {
		result_of(&c->ops[i], &result[i]);
		room += result[i].value.len + RESULT_ROOM;
	}
	r = secpool_get(c->pool, GRPC_PREFIX + room, &body);
	body.len = GRPC_PREFIX;
	if (r == 0)
		r = pb_transform_response_encode(result, c->n, &body);
	if (r == 0 && body.len - GRPC_PREFIX > TRANSFORM_MESSAGE_BYTES)
		r = -EMSGSIZE;
	if (r == 0)
		grpc_call_reply_with(c->grpc, &body);
	return r;
}

static void transform_call_fail(struct grpc_call *grpc, int r)
{
	enum grpc_status status;
	const char *text;

	if (r == -ENOBUFS || r == -EUSERS)
		grpc_call_overloaded(grpc, r == -EUSERS ? REFUSAL_CALLS : REFUSAL_MEMORY);
	kms_answer(r, &status, &text);
	grpc_call_fail(grpc, status, "%s", text);
}

static void call_drop(struct transform_call *c)
{
	int r;

	if (--c->left > 0)
		return;
	if (c->grpc) {
		r = transform_answer(c);
		if (r < 0)
			transform_call_fail(c->grpc, r);
	}
	call_put(c);
}

static int transform_event(const struct transform_op *o)
{
	const struct transform_service *s = o->call->service;
	enum grpc_status status = GRPC_OK;
	const char *text;

	if (!s->event)
		return 0;
	if (o->r < 0)
		kms_answer(o->r, &status, &text);
	return s->event(s->event_ctx, &(struct kms_event){
					      .method = what_names[o->call->what],
					      .resource = o->call->resource,
					      .path = o->op.context,
					      .peer = &o->op.peer,
					      .provider = o->op.provider ? o->op.provider : "",
					      .key_id = o->op.key_id,
					      .r = o->r,
					      .status = status,
					      .started_ns = o->call->started_ns,
					      .ended_ns = now_ns(),
				      });
}

static void transform_op_done(struct op *op, int r)
{
	struct transform_op *o = container_of(op, struct transform_op, op);

	o->r = o->call->grpc ? r : -ECANCELED;
	r = transform_event(o);
	if (o->r == 0)
		o->r = r;
	call_drop(o->call);
}

/* @chain: NULL when there is none for the resource. */
static int op_open(struct transform_call *c, struct op *op, struct chain *chain)
{
	const struct transform_service *s = c->service;
	int r = chain ? chain_decrypt(chain, op) : -ENOENT;

	if ((r != -EINVAL && r != -ENOKEY && r != -ENOENT) || !own_match(op->in))
		return r;
	/* With the chain that has the data key, whatever resources that is for: the KMS socket is not told any. */
	r = -EINVAL;
	for (size_t i = 0; i < s->n_items && (r == -EINVAL || r == -ENOKEY); i++)
		r = own_decrypt(s->items[i].chain, c->pool, op);
	return r;
}

static void op_start(struct transform_call *c, struct transform_op *o, struct chain *chain)
{
	int r;

	if (o->op.context.len == 0)
		r = -EINVAL;
	else if (c->what == TO_STORAGE)
		r = chain_encrypt(chain, &o->op);
	else
		r = op_open(c, &o->op, chain);
	if (r < 0)
		transform_op_done(&o->op, r);
}

static int op_grow(struct op *op, size_t cap)
{
	struct transform_op *o = container_of(op, struct transform_op, op);
	int r;

	secbuf_release(&o->own);
	r = secpool_get(o->call->pool, cap, &o->own);
	op->out = o->own.data;
	op->out_cap = o->own.cap;
	return r;
}

/* @growth: what the buffer was sized with. It is asked for once: a kms chain's changes with time. */
static void ops_start(struct transform_call *c, const struct transform_value *values,
		      struct chain *chain, size_t growth)
{
	uint8_t *out = c->out.data;

	for (size_t i = 0; i < c->n; i++) {
		struct transform_op *o = &c->ops[i];

		o->call = c;
		o->op.purpose = OP_STORAGE;
		o->op.in = values[i].value;
		o->op.context = values[i].path;
		o->op.out = out;
		o->op.out_cap = values[i].value.len + growth;
		o->op.deadline_ns = grpc_call_deadline(c->grpc);
		o->op.peer = *grpc_call_peer(c->grpc);
		o->op.done = transform_op_done;
		o->op.grow = op_grow;
		out += o->op.out_cap;
	}
	c->left = c->n + 1;
	for (size_t i = 0; i < c->n; i++)
		op_start(c, &c->ops[i], chain);
	call_drop(c);
}

static int call_get(struct transform_service *s, struct grpc_call *grpc, size_t n,
		    struct transform_call **ret)
{
	struct secpool *pool = grpc_call_pool(grpc);
	struct transform_call *c;
	struct secbuf self;
	int r;

	if (n > 1 && grpc_call_weigh(grpc, n - 1) < 0)
		return -EUSERS;
	r = secpool_get(pool, sizeof(*c) + n * sizeof(struct transform_op), &self);
	if (r < 0)
		return r;
	c = (void *)self.data;
	c->self = self;
	c->service = s;
	c->pool = pool;
	c->n = n;
	s->busy++;
	*ret = c;
	return 0;
}

/* @msg is taken on success only. *@ret_resource is in it, and set as soon as it is known. */
static int call_start(struct transform_service *s, struct grpc_call *grpc, struct secbuf *msg,
		      enum transform_what what, struct span *ret_resource)
{
	_cleanup_secbuf_ struct secbuf table = { 0 };
	struct transform_value *values;
	struct transform_call *c = NULL;
	struct chain *chain = NULL;
	struct span resource;
	size_t n, item, growth, room = 0;
	int r;

	r = secpool_get(grpc_call_pool(grpc), TRANSFORM_VALUES_MAX * sizeof(*values), &table);
	if (r < 0)
		return r;
	values = (void *)table.data;
	r = pb_transform_request_decode(span_of(msg->data, msg->len), &resource, values,
					TRANSFORM_VALUES_MAX, &n);
	if (r == 0) {
		*ret_resource = resource;
		r = transform_find(s->items, s->n_items, resource, &item);
		if (r == 0)
			chain = s->items[item].chain;
		else if (what != TO_STORAGE)
			r = 0; /* envelopes of our own open all the same */
	}
	if (r == 0)
		r = call_get(s, grpc, n, &c);
	if (r < 0 || !c)
		return r < 0 ? r : -ENOBUFS;
	c->what = what;
	c->resource = resource;
	growth = what == TO_STORAGE ? chain_overhead(chain) : 0; /* CBC needs what went in */
	for (size_t i = 0; i < n; i++)
		room += values[i].value.len + growth;
	r = secpool_get(c->pool, room + 1, &c->out);
	if (r < 0) {
		call_put(c);
		return r;
	}
	c->grpc = grpc;
	c->msg = secbuf_move(msg);
	c->started_ns = now_ns();
	grpc_call_set_ctx(grpc, c);
	ops_start(c, values, chain, growth);
	return 0;
}

static void transform_event_bare(const struct transform_service *s, const char *method,
				 const struct op_peer *peer, struct span resource,
				 enum grpc_status status, int r)
{
	uint64_t now = now_ns();

	if (s->event)
		(void)s->event(s->event_ctx, &(struct kms_event){
						     .method = method,
						     .resource = resource,
						     .peer = peer,
						     .provider = "",
						     .key_id = "",
						     .r = r,
						     .status = status,
						     .started_ns = now,
						     .ended_ns = now,
					     });
}

static void transform_call_run(struct transform_service *s, struct grpc_call *grpc,
			       struct secbuf *msg, enum transform_what what)
{
	struct span resource = SPAN_NULL;
	int r = call_start(s, grpc, msg, what, &resource);
	enum grpc_status status = GRPC_INVALID_ARGUMENT;
	const char *text;

	if (r >= 0)
		return;
	if (r != -ENOENT)
		kms_answer(r, &status, &text);
	transform_event_bare(s, what_names[what], grpc_call_peer(grpc), resource, status, r);
	if (r == -ENOENT)
		grpc_call_fail(grpc, GRPC_INVALID_ARGUMENT, "%s", no_item);
	else if (r == -E2BIG)
		grpc_call_fail(grpc, GRPC_INVALID_ARGUMENT, "more than %d values in one request",
			       TRANSFORM_VALUES_MAX);
	else
		transform_call_fail(grpc, r);
}

static void call_to_storage(void *ctx, struct grpc_call *grpc, struct secbuf *msg)
{
	transform_call_run(ctx, grpc, msg, TO_STORAGE);
}

static void call_from_storage(void *ctx, struct grpc_call *grpc, struct secbuf *msg)
{
	transform_call_run(ctx, grpc, msg, FROM_STORAGE);
}

static void call_verify(void *ctx, struct grpc_call *grpc, struct secbuf *msg)
{
	transform_call_run(ctx, grpc, msg, VERIFY);
}

/* Their done still runs; a job that is not under way is not touched. */
static void transform_cancel(void *ctx, struct grpc_call *grpc)
{
	struct transform_service *s = ctx;
	struct transform_call *c = grpc_call_ctx(grpc);

	if (!c)
		return;
	c->grpc = NULL;
	for (size_t i = 0; i < c->n; i++)
		chain_cancel(s->items[0].chain, &c->ops[i].op);
}

static const struct grpc_method transform_methods[] = {
	{ "/kekd.v1.Transform/ToStorage", call_to_storage },
	{ "/kekd.v1.Transform/FromStorage", call_from_storage },
	{ "/kekd.v1.Transform/Verify", call_verify },
	{ NULL, NULL },
};

/* Beside those. */
static const enum transform_what transform_whats[ARRAY_SIZE(transform_methods) - 1] = {
	TO_STORAGE,
	FROM_STORAGE,
	VERIFY,
};

static void transform_refused(void *ctx, const struct grpc_refused *e)
{
	transform_event_bare(ctx,
			     e->method ? what_names[transform_whats[e->method - transform_methods]]
				       : KMS_UNKNOWN_METHOD,
			     e->peer, SPAN_NULL, e->status, e->r);
}

const struct grpc_service transform_grpc_service = {
	.methods = transform_methods,
	.cancel = transform_cancel,
	.name = "transform",
	.refused = transform_refused,
};
