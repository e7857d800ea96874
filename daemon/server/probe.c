/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it ready? Every few seconds each chain encrypts and decrypts 32 random bytes, the way a client's
 * request does. The result travels with the counters, and Status goes by it. Without `metrics:` nobody but Status
 * wants to know, so a chain is left alone while its clients' own Encrypts say how it is.
 *
 * Encryptions under a key are few by design, so the ciphertext is kept and only decrypted again, until the
 * chain writes with another key or ten minutes are over, or an Encrypt has failed.
 *
 * A chain whose first provider serves no KMS socket is tried with a value of etcd instead. One whose
 * first provider is kms v1 makes two calls of the plugin in ten minutes, and one with a full cache none.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/server/server_private.h"

#define NS_PER_S    UINT64_C(1000000000)
#define PROBE_NS    (5 * NS_PER_S)
#define DEADLINE_NS (4 * NS_PER_S)
#define RENEW_NS    (600 * NS_PER_S)
#define SILENT_NS   (60 * NS_PER_S) /* for so long no client has written */
#define TEXT        32
#define STORED      4096
#define ETCD_KEY    "/kekd/probe"

enum probe_step { PROBE_IDLE, PROBE_ENCRYPTS, PROBE_DECRYPTS };

/* Of one chain. */
struct probe_value {
	enum op_purpose purpose;
	char key_id[sizeof(((struct op *)NULL)->key_id)];
	uint64_t made_ns; /* 0: nothing is kept */
	size_t len;
	uint8_t stored[STORED];
};

/* In locked memory: the engine keeps part of a message in the op. */
struct server_probe {
	struct secbuf self;
	struct server *s;
	struct op op;
	struct ring_op timer;
	enum probe_step step;
	size_t item;
	int r;      /* of the round so far */
	bool tried; /* any of them in this round */
	uint64_t since_ns;
	uint8_t text[TEXT], back[STORED];
	struct probe_value v[];
};

static void item_start(struct server_probe *p);

static void probe_item_next(struct server_probe *p)
{
	if (++p->item < p->s->n_items) {
		item_start(p);
		return;
	}
	p->step = PROBE_IDLE;
	if (p->tried) {
		p->s->stats.probes++;
		p->s->stats.probe_r = p->r;
		log_debug("timer: the chains were tried: %s",
			  p->r == 0 ? "well" : errno_text(p->r));
	}
	ring_timer(p->s->ring, &p->timer, now_ns() + PROBE_NS);
}

static void item_end(struct server_probe *p, int r)
{
	if (r < 0) {
		p->r = r;
		p->v[p->item].made_ns = 0;
	}
	if (p->v[p->item].purpose != OP_STORAGE)
		kms_service_tried(p->s->items[p->item].kms, r);
	probe_item_next(p);
}

static void probe_op_done(struct op *op, int r);

static void op_prepare(struct server_probe *p, enum probe_step step, struct span in, uint8_t *out,
		       size_t cap)
{
	const struct probe_value *v = &p->v[p->item];

	p->step = step;
	p->op = (struct op){
		.purpose = v->purpose,
		.in = in,
		.out = out,
		.out_cap = cap,
		.deadline_ns = now_ns() + DEADLINE_NS,
		.done = probe_op_done,
	};
	if (v->purpose == OP_STORAGE)
		p->op.context = span_str(ETCD_KEY);
	else if (step == PROBE_DECRYPTS)
		p->op.context = span_str(v->key_id);
}

static int decrypt(struct server_probe *p)
{
	struct probe_value *v = &p->v[p->item];

	op_prepare(p, PROBE_DECRYPTS, span_of(v->stored, v->len), p->back, sizeof(p->back));
	return chain_decrypt(p->s->items[p->item].chain, &p->op);
}

static int encrypt(struct server_probe *p)
{
	struct probe_value *v = &p->v[p->item];

	op_prepare(p, PROBE_ENCRYPTS, span_of(p->text, TEXT), v->stored, sizeof(v->stored));
	return chain_encrypt(p->s->items[p->item].chain, &p->op);
}

static void probe_op_done(struct op *op, int r)
{
	struct server_probe *p = container_of(op, struct server_probe, op);
	struct probe_value *v = &p->v[p->item];

	if (r == 0 && p->step == PROBE_ENCRYPTS) {
		v->len = op->out_len;
		v->made_ns = now_ns();
		memcpy(v->key_id, op->key_id, sizeof(v->key_id));
		r = decrypt(p);
		if (r == 0)
			return;
	} else if (r == 0 && (op->out_len != TEXT || memcmp(p->back, p->text, TEXT) != 0)) {
		r = -EBADMSG;
	}
	item_end(p, r);
}

/* May the last ciphertext be decrypted again, in place of a new one? Only while the same key would write it. */
static bool is_fresh(const struct server_probe *p)
{
	const struct probe_value *v = &p->v[p->item];
	uint64_t when;
	const char *id;

	if (kms_service_writes(p->s->items[p->item].kms, &when) < 0)
		return false;
	if (v->made_ns == 0 || now_ns() - v->made_ns > RENEW_NS)
		return false;
	if (v->purpose == OP_STORAGE)
		return true;
	return chain_key_id(p->s->items[p->item].chain, &id) == 0 && strcmp(id, v->key_id) == 0;
}

/* There is no need to try: nobody reads metrics, and clients have seen it work a short while ago. */
static bool is_known(const struct server_probe *p)
{
	uint64_t when;

	if (p->s->config->metrics.listen)
		return false;
	return kms_service_writes(p->s->items[p->item].kms, &when) == 0 &&
	       now_ns() - (when > p->since_ns ? when : p->since_ns) < SILENT_NS;
}

static void item_start(struct server_probe *p)
{
	struct probe_value *v = &p->v[p->item];
	int r;

	if (is_known(p)) {
		probe_item_next(p);
		return;
	}
	p->tried = true;
	if (is_fresh(p)) {
		r = decrypt(p);
	} else {
		v->purpose = OP_KMS_V2;
		r = encrypt(p);
		if (r == -EOPNOTSUPP) {
			v->purpose = OP_STORAGE;
			r = encrypt(p);
		}
	}
	if (r < 0)
		item_end(p, r);
}

static void probe_on_timer(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct server_probe *p = container_of(op, struct server_probe, timer);

	if (res == -ECANCELED || p->s->stopping)
		return;
	p->item = 0;
	p->r = 0;
	p->tried = false;
	item_start(p);
}

int server_probe_start(struct server *s)
{
	size_t size = sizeof(struct server_probe) + s->n_items * sizeof(struct probe_value);
	struct secbuf self;
	int r;

	r = secpool_get(s->pool, size, &self);
	if (r < 0)
		return r;
	s->probe = (void *)self.data;
	s->probe->self = self;
	s->probe->s = s;
	s->probe->since_ns = now_ns();
	s->probe->timer.done = probe_on_timer;
	r = random_bytes(s->probe->text, TEXT);
	if (r < 0)
		return r;
	ring_timer(s->ring, &s->probe->timer, now_ns());
	return 0;
}
