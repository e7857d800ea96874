/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kms_op a request, with the chain's op in it: it lies behind the message that the request came in (locked,
 * holds the plaintext of an Encrypt), and has a buffer (locked, holds the plaintext of a Decrypt) in which the chain
 * puts the result where the answer will have it. All of it counts against the connection's share. If
 * the caller goes away, the call pointer is cleared and the op lives on until the engine has let
 * go of the buffers; then it ends without an answer.
 *
 * Status does no cryptography: it says which key Encrypt would use now, or fails. It fails too when the last
 * Encrypt, or the last try that stood in for one, failed by what is here and not by its request. A polite
 * "unhealthy" text would not stop the apiserver from writing (kubernetes#138950); an error does.
 */
#include "daemon/kms/service.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb.h"

struct kms_service {
	struct chain *chain;
	kms_event_fn *event;
	void *event_ctx;
	unsigned int busy;
	int write_r; /* how the last try to write ended */
	uint64_t write_ns;
};

struct kms_method {
	const char *name;
	enum pb_message request, response;
	enum op_purpose purpose;
	bool encrypt;
};

struct kms_op {
	struct op op;
	struct kms_service *service;
	const struct kms_method *method;
	struct grpc_call *call; /* NULL: gone */
	struct secpool *pool;   /* the call's; good while a buffer of it is held */
	struct secbuf msg, out;
	struct secbuf self; /* where there is no room for it behind the message */
	struct span uid;
	uint64_t started_ns;
};

static const struct kms_method v2_encrypt = { "v2.Encrypt", PB_V2_ENCRYPT_REQUEST,
					      PB_V2_ENCRYPT_RESPONSE, OP_KMS_V2, true };
static const struct kms_method v2_decrypt = { "v2.Decrypt", PB_V2_DECRYPT_REQUEST,
					      PB_V2_DECRYPT_RESPONSE, OP_KMS_V2, false };
static const struct kms_method v1_encrypt = { "v1beta1.Encrypt", PB_V1_ENCRYPT_REQUEST,
					      PB_V1_ENCRYPT_RESPONSE, OP_KMS_V1, true };
static const struct kms_method v1_decrypt = { "v1beta1.Decrypt", PB_V1_DECRYPT_REQUEST,
					      PB_V1_DECRYPT_RESPONSE, OP_KMS_V1, false };

/* What an answer has before the result, and behind that of a v2 Encrypt: its key_id. */
#define ANSWER_HEAD   (GRPC_PREFIX + PB_ROOM)
#define ANSWER_KEY_ID (2 + sizeof(((struct op *)0)->key_id))

#define STATUS  "v2.Status"
#define VERSION "v1beta1.Version"

/* Our meaning of an errno → gRPC status and the sentence an operator reads in the apiserver's log. */
static const struct {
	int r;
	enum grpc_status status;
	const char *text;
} answers[] = {
	{ -EBADMSG, GRPC_DATA_LOSS,
	  "authentication tag does not match: the value was altered, or belongs to another key" },
	{ -EINVAL, GRPC_INVALID_ARGUMENT, "malformed request" },
	{ -E2BIG, GRPC_INVALID_ARGUMENT,
	  "plaintext too long: a KMS v2 ciphertext has at most 1024 bytes" },
	{ -ENOKEY, GRPC_FAILED_PRECONDITION,
	  "no such key here; see `kekctl key list`, and the key store of the node that wrote the value" },
	{ -EKEYREJECTED, GRPC_FAILED_PRECONDITION,
	  "the key is retired, destroyed or sealed by another root; see `kekctl key list`" },
	{ -EKEYREVOKED, GRPC_UNAVAILABLE,
	  "the key was withdrawn or cannot be loaded; see `kekctl key list`" },
	{ -EKEYEXPIRED, GRPC_UNAVAILABLE, "sealed: the root key is not loaded" },
	{ -ESTALE, GRPC_FAILED_PRECONDITION,
	  "this node is no member of its keyset, or is leaving: it reads values and writes none; see "
	  "`kekctl keyset show`" },
	{ -ENOLINK, GRPC_UNAVAILABLE,
	  "this node has not read the keyset from etcd since its start: it reads values and writes none; "
	  "see `kekctl cluster status`" },
	{ -EDQUOT, GRPC_UNAVAILABLE,
	  "the active key has encrypted as many messages as it may, and only opens values from now on: "
	  "`kekctl key rotate NAME`" },
	{ -ENOBUFS, GRPC_RESOURCE_EXHAUSTED, "overloaded, try again" },
	{ -EUSERS, GRPC_RESOURCE_EXHAUSTED, "overloaded: too many values in flight, try again" },
	{ -EMSGSIZE, GRPC_RESOURCE_EXHAUSTED, "message too large" },
	{ -EPERM, GRPC_PERMISSION_DENIED, "not permitted" },
	{ -EACCES, GRPC_PERMISSION_DENIED, "not permitted" },
	{ -ETIME, GRPC_DEADLINE_EXCEEDED, "deadline exceeded" },
	{ -ECANCELED, GRPC_CANCELLED, "cancelled" },
	{ -EOPNOTSUPP, GRPC_UNIMPLEMENTED, "not offered" },
	{ -EHOSTUNREACH, GRPC_UNAVAILABLE,
	  "the KMS plugin behind this provider does not answer; see kekd's log" },
	{ -EPROTO, GRPC_UNAVAILABLE,
	  "the KMS plugin behind this provider breaks the protocol; see kekd's log" },
	{ -EREMOTEIO, GRPC_UNAVAILABLE, "the KMS plugin behind this provider refused" },
	{ -EIO, GRPC_UNAVAILABLE, "the kernel's cipher failed, try again" },
};

void kms_answer(int r, enum grpc_status *ret_status, const char **ret_text)
{
	*ret_status = GRPC_INTERNAL;
	*ret_text = "internal error";
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		if (answers[i].r != r)
			continue;
		*ret_status = answers[i].status;
		*ret_text = answers[i].text;
	}
}

static enum grpc_status status_of(int r)
{
	enum grpc_status status = GRPC_OK;
	const char *text;

	if (r < 0)
		kms_answer(r, &status, &text);
	return status;
}

static void kms_call_fail(const struct kms_service *s, struct grpc_call *call, int r)
{
	const char *sealed = chain_sealed_text(s->chain);
	enum grpc_status status;
	const char *text;

	if (r == -ENOBUFS)
		grpc_call_overloaded(call, REFUSAL_MEMORY);
	kms_answer(r, &status, &text);
	if (r == -EKEYEXPIRED && *sealed)
		grpc_call_fail(call, status, "sealed: %s", sealed);
	else if (status == GRPC_INTERNAL)
		grpc_call_fail(call, status, "%s: %s", text, errno_text(r));
	else
		grpc_call_fail(call, status, "%s", text);
}

int kms_service_new(struct chain *chain, kms_event_fn *event, void *ctx, struct kms_service **ret)
{
	struct kms_service *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->chain = chain;
	s->event = event;
	s->event_ctx = ctx;
	*ret = s;
	return 0;
}

void kms_service_free(struct kms_service *s)
{
	free(s);
}

void kms_service_set_chain(struct kms_service *s, struct chain *chain)
{
	s->chain = chain;
	s->write_r = 0; /* of the one before */
	s->write_ns = 0;
}

/*
 * What one request, one moment's overload or one client's deadline is to blame for says nothing of the next; and
 * how the key is chain_key_id() says, of this moment.
 */
static bool says_nothing(int r)
{
	switch (r) {
	case -EINVAL:
	case -E2BIG:
	case -EMSGSIZE:
	case -ENOBUFS:
	case -EPERM:
	case -EACCES:
	case -EOPNOTSUPP:
	case -ETIME:
	case -ECANCELED:
	case -ENOKEY:
	case -EKEYREVOKED:
	case -EKEYEXPIRED:
	case -EKEYREJECTED:
	case -ESTALE:
		return true;
	default:
		return false;
	}
}

static void tried_at(struct kms_service *s, int r, uint64_t now)
{
	if (says_nothing(r))
		return;
	s->write_r = r;
	s->write_ns = now;
}

void kms_service_tried(struct kms_service *s, int r)
{
	tried_at(s, r, now_ns());
}

int kms_service_writes(const struct kms_service *s, uint64_t *ret_ns)
{
	*ret_ns = s->write_ns;
	return s->write_r;
}

unsigned int kms_service_busy(const struct kms_service *s)
{
	return s->busy;
}

/* Behind the message, where nothing has been yet; NULL: there is no room (kms_grpc_service). */
static struct kms_op *kms_op_behind(const struct secbuf *msg)
{
	size_t at;

	if (msg->cap < sizeof(struct kms_op))
		return NULL;
	at = (msg->cap - sizeof(struct kms_op)) & ~(_Alignof(struct kms_op) - 1);
	return at < msg->len ? NULL : (void *)(msg->data + at);
}

/*
 * In locked memory as its buffers are: the engine keeps E_K(J0) of a large message in the job. @msg is
 * consumed on success.
 */
static int kms_op_get(struct kms_service *s, struct secpool *pool, struct secbuf *msg,
		      struct kms_op **ret)
{
	struct kms_op *k = kms_op_behind(msg);
	struct secbuf self = { 0 };
	int r;

	if (!k) {
		r = secpool_get(pool, sizeof(*k), &self);
		if (r < 0)
			return r;
		k = (void *)self.data;
	}
	k->self = self;
	k->msg = secbuf_move(msg);
	k->pool = pool;
	k->service = s;
	s->busy++;
	*ret = k;
	return 0;
}

static void kms_op_put(struct kms_op *k)
{
	struct secbuf self = k->self, msg = k->msg;

	k->service->busy--;
	secbuf_release(&k->out);
	secbuf_release(&msg);
	secbuf_release(&self);
}

static bool is_v2_encrypt(const struct kms_op *k)
{
	return k->method->encrypt && k->op.purpose == OP_KMS_V2;
}

static int event(const struct kms_op *k, int r, uint64_t now)
{
	const struct kms_service *s = k->service;

	if (!s->event)
		return 0;
	return s->event(s->event_ctx, &(struct kms_event){
					      .method = k->method->name,
					      .uid = k->uid,
					      .peer = &k->op.peer,
					      .provider = k->op.provider ? k->op.provider : "",
					      .key_id = k->op.key_id,
					      .r = r,
					      .status = status_of(r),
					      .started_ns = k->started_ns,
					      .ended_ns = now,
				      });
}

static void kms_op_done(struct op *op, int r)
{
	struct kms_op *k = container_of(op, struct kms_op, op);
	struct kms_response rsp = { 0 };
	uint64_t now = now_ns();
	int unrecorded;

	if (k->method->encrypt)
		tried_at(k->service, r, now);
	if (!k->call) {
		r = -ECANCELED;
	} else if (r == 0) {
		/* Around the result, as grpc_call_reply_with() takes it. */
		rsp.data = span_of(k->op.out, k->op.out_len);
		if (is_v2_encrypt(k))
			rsp.key_id = span_str(k->op.key_id);
		k->out.len = GRPC_PREFIX;
		r = pb_encode_around(k->method->response, &rsp, &k->out);
	}
	unrecorded = event(k, r, now);
	if (r == 0)
		r = unrecorded;
	if (k->call && r == 0)
		grpc_call_reply_with(k->call, &k->out);
	else if (k->call)
		kms_call_fail(k->service, k->call, r);
	kms_op_put(k);
}

static void kms_cancel(void *ctx, struct grpc_call *call)
{
	struct kms_service *s = ctx;
	struct kms_op *k = grpc_call_ctx(call);

	if (!k)
		return;
	k->call = NULL;
	chain_cancel(s->chain, &k->op);
}

/* Room for a result of @cap bytes, and for what the answer has around it. */
static int kms_out(struct op *op, size_t cap)
{
	struct kms_op *k = container_of(op, struct kms_op, op);
	size_t around = ANSWER_HEAD + (is_v2_encrypt(k) ? ANSWER_KEY_ID : 0);
	size_t most = is_v2_encrypt(k) ? KEKD_KMS_CIPHERTEXT_MAX : SIZE_MAX;
	int r;

	if (cap > most)
		cap = most;
	if (k->out.data && cap <= op->out_cap)
		return 0;
	secbuf_release(&k->out);
	op->out = NULL;
	op->out_cap = 0;
	r = secpool_get(k->pool, around + cap, &k->out);
	if (r < 0)
		return r;
	op->out = k->out.data + ANSWER_HEAD;
	op->out_cap = k->out.cap - around < most ? k->out.cap - around : most;
	return 0;
}

static int kms_start(struct kms_op *k)
{
	const struct kms_method *m = k->method;
	struct kms_service *s = k->service;
	struct kms_request req;
	size_t cap;
	int r;

	r = pb_decode_request(m->request, span_of(k->msg.data, k->msg.len), &req);
	if (r < 0)
		return r;
	/* Limits that are the contract's own, before any key is looked at. */
	if (m->purpose == OP_KMS_V2 && !m->encrypt &&
	    (req.data.len == 0 || req.data.len > KEKD_KMS_CIPHERTEXT_MAX || req.key_id.len == 0 ||
	     req.key_id.len > KEKD_KMS_KEY_ID_MAX))
		return -EINVAL;
	if (m->purpose == OP_KMS_V1 && !span_equal(req.version, span_str("v1beta1")))
		return -EINVAL;
	k->uid = req.uid;
	cap = req.data.len + (m->encrypt ? chain_overhead(s->chain) : 0);
	r = kms_out(&k->op, cap);
	if (r < 0)
		return r;
	k->op.in = req.data;
	k->op.context = req.key_id;
	k->op.done = kms_op_done;
	k->op.grow = kms_out;
	if (!m->encrypt)
		return chain_decrypt(s->chain, &k->op);
	r = chain_encrypt(s->chain, &k->op);
	return r == -EMSGSIZE ? -E2BIG : r;
}

/* Of a call for which there is no op, and no answer but @status. */
static void event_bare(const struct kms_service *s, const char *method, const struct op_peer *peer,
		       enum grpc_status status, int r)
{
	uint64_t now = now_ns();

	if (s->event)
		(void)s->event(s->event_ctx, &(struct kms_event){
						     .method = method,
						     .peer = peer,
						     .provider = "",
						     .key_id = "",
						     .r = r,
						     .status = status,
						     .started_ns = now,
						     .ended_ns = now,
					     });
}

static void kms_refuse(struct kms_service *s, struct grpc_call *call, const char *method, int r)
{
	event_bare(s, method, grpc_call_peer(call), status_of(r), r);
	kms_call_fail(s, call, r);
}

static void kms_call(struct kms_service *s, const struct kms_method *m, struct grpc_call *call,
		     struct secbuf *msg)
{
	struct kms_op *k;
	int r;

	r = kms_op_get(s, grpc_call_pool(call), msg, &k);
	if (r < 0) {
		kms_refuse(s, call, m->name, r);
		return;
	}
	k->method = m;
	k->call = call;
	k->started_ns = grpc_call_arrived(call);
	k->op.purpose = m->purpose;
	k->op.deadline_ns = grpc_call_deadline(call);
	k->op.peer = *grpc_call_peer(call);
	grpc_call_set_ctx(call, k);
	r = kms_start(k);
	if (r < 0)
		kms_op_done(&k->op, r);
}

static void call_v2_encrypt(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	kms_call(ctx, &v2_encrypt, call, msg);
}

static void call_v2_decrypt(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	kms_call(ctx, &v2_decrypt, call, msg);
}

static void call_v1_encrypt(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	kms_call(ctx, &v1_encrypt, call, msg);
}

static void call_v1_decrypt(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	kms_call(ctx, &v1_decrypt, call, msg);
}

/* Answer at once with a message of public content. */
static void reply_now(struct kms_service *s, const char *method, struct grpc_call *call,
		      enum pb_message which, const struct kms_response *rsp)
{
	_cleanup_secbuf_ struct secbuf body = { 0 };
	int r;

	r = secpool_get(grpc_call_pool(call), 256, &body);
	body.len = GRPC_PREFIX;
	if (r == 0)
		r = pb_encode_response(which, rsp, &body);
	if (r < 0)
		kms_refuse(s, call, method, r);
	else
		grpc_call_reply_with(call, &body);
}

static void call_v2_status(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct kms_service *s = ctx;
	struct kms_request req;
	const char *key_id = "";
	int r;

	r = pb_decode_request(PB_V2_STATUS_REQUEST, span_of(msg->data, msg->len), &req);
	if (r == 0)
		r = chain_key_id(s->chain, &key_id);
	if (r == 0)
		r = s->write_r;
	if (r < 0) {
		kms_refuse(s, call, STATUS, r);
		return;
	}
	reply_now(s, STATUS, call, PB_V2_STATUS_RESPONSE,
		  &(struct kms_response){ .version = span_str("v2"),
					  .healthz = span_str("ok"),
					  .key_id = span_str(key_id) });
}

static void call_v1_version(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct kms_request req;
	int r;

	r = pb_decode_request(PB_V1_VERSION_REQUEST, span_of(msg->data, msg->len), &req);
	if (r < 0) {
		kms_refuse(ctx, call, VERSION, r);
		return;
	}
	reply_now(ctx, VERSION, call, PB_V1_VERSION_RESPONSE,
		  &(struct kms_response){ .version = span_str("v1beta1"),
					  .runtime_name = span_str("kekd"),
					  .runtime_version = span_str(KEKD_VERSION) });
}

static const struct grpc_method kms_methods[] = {
	{ "/v2.KeyManagementService/Status", call_v2_status },
	{ "/v2.KeyManagementService/Encrypt", call_v2_encrypt },
	{ "/v2.KeyManagementService/Decrypt", call_v2_decrypt },
	{ "/v1beta1.KeyManagementService/Version", call_v1_version },
	{ "/v1beta1.KeyManagementService/Encrypt", call_v1_encrypt },
	{ "/v1beta1.KeyManagementService/Decrypt", call_v1_decrypt },
	{ NULL, NULL },
};

/* Beside those. */
static const char *const method_names[ARRAY_SIZE(kms_methods) - 1] = {
	STATUS, "v2.Encrypt", "v2.Decrypt", VERSION, "v1beta1.Encrypt", "v1beta1.Decrypt",
};

static void kms_refused(void *ctx, const struct grpc_refused *e)
{
	event_bare(ctx, e->method ? method_names[e->method - kms_methods] : KMS_UNKNOWN_METHOD,
		   e->peer, e->status, e->r);
}

const struct grpc_service kms_grpc_service = {
	.methods = kms_methods,
	.cancel = kms_cancel,
	.name = "kms",
	.refused = kms_refused,
	.room = sizeof(struct kms_op) + _Alignof(struct kms_op),
};
