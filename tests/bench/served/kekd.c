/* SPDX-License-Identifier: Apache-2.0 */
/* Turns and counters are those of daemon/server. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/chain/dekvalue.h"
#include "daemon/chain/encobj.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/openssl_dek.h"
#include "daemon/kms/service.h"
#include "daemon/kms/transform.h"
#include "daemon/obs/metrics.h"
#include "daemon/wire/grpc.h"
#include "tests/bench/served/served.h"
#include "tests/support/chain_bed.h"

#define PLUGIN_YAML                                                                           \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" \
	"- resources: [secrets]\n  providers:\n  - aesgcm: { keys: [ { name: primary } ] }\n"

#define TRANSFORM_POOL (6U << 20)

static struct {
	struct chain_bed bed;
	struct ring *ring;
	struct kms_service *service;
	struct transform_service *transform;
	struct secpool *pool; /* of the transform service's messages */
	struct metrics stats;
	struct grpc_server *server;
	uid_t uid;
	struct grpc_peers peers;
} kekd;

/* A listener that is gone from the file system once the client has connected. */
static int connection_make(int *ret_listener, int *ret_fd)
{
	char dir[] = "/tmp/kekd-served.XXXXXX";
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	_cleanup_close_ int listener = -1, fd = -1;
	bool good;

	if (!mkdtemp(dir))
		return -errno;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", dir);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	good = listener >= 0 && fd >= 0 && bind(listener, (void *)&at, sizeof(at)) == 0 &&
	       listen(listener, 1) == 0 && connect(fd, (void *)&at, sizeof(at)) == 0;
	unlink(at.sun_path);
	rmdir(dir);
	if (!good)
		return -EIO;
	*ret_listener = move_fd(listener);
	*ret_fd = move_fd(fd);
	return 0;
}

static int bed_make(enum bed_backend backend)
{
	static const uint8_t bytes[KEKD_AES_KEY_MAX] = "a public key, for the benchmark";
	const struct chain_bed_key key = {
		.name = "primary",
		.label = "primary",
		.bytes = bytes,
		.len = sizeof(bytes),
		.state = KEY_ACTIVE,
	};
	int r = chain_bed_open(&kekd.bed, backend, PLUGIN_YAML, false);

	if (r == 0)
		r = chain_bed_key(&kekd.bed, &key);
	return r < 0 ? r : 0;
}

static int on_event(void *ctx, const struct kms_event *e)
{
	metrics_observe(ctx, e->method, e->status, e->ended_ns - e->started_ns);
	return 0;
}

/* The kernel backend's bed comes with a ring; the others get one that is ours. */
static int ring_make(enum ring_kind kind)
{
	kekd.ring = kekd.bed.bed.ring;
	return kekd.ring ? 0 : ring_new(kind, 64, &kekd.ring);
}

static int service_open(struct secpool *pool, const struct grpc_limits *limits,
			const struct grpc_service *service, void *ctx, int *ret_fd)
{
	int listener = -1, r;

	r = grpc_server_new(kekd.ring, pool, limits, &kekd.server);
	if (r == 0)
		r = connection_make(&listener, ret_fd);
	if (r < 0)
		return r;
	kekd.uid = getuid();
	kekd.peers = (struct grpc_peers){ .uids = &kekd.uid, .n_uids = 1 };
	return grpc_server_listen(kekd.server, listener, service, &kekd.peers, ctx);
}

static int plugin_open(enum bed_backend backend, enum ring_kind kind, int *ret_fd)
{
	int r = bed_make(backend);

	if (r == 0)
		r = ring_make(kind);
	if (r == 0)
		r = kms_service_new(kekd.bed.chain, on_event, &kekd.stats, &kekd.service);
	return r < 0 ? r
		     : service_open(kekd.bed.pool, &grpc_limits_default, &kms_grpc_service,
				    kekd.service, ret_fd);
}

/* With the limits of daemon/server/transform_service.c. */
static int transform_open(int *ret_fd)
{
	struct transform_item item = { 0 };
	struct grpc_limits limits = grpc_limits_default;
	int r = bed_make(BED_OPENSSL);

	if (r == 0)
		r = ring_make(RING_EPOLL);
	if (r < 0)
		return r;
	item.conf = &kekd.bed.conf->items[0];
	item.chain = kekd.bed.chain;
	r = transform_service_new(&item, 1, on_event, &kekd.stats, &kekd.transform);
	if (r == 0)
		r = secpool_new(TRANSFORM_POOL, &kekd.pool);
	if (r < 0)
		return r;
	limits.message_bytes = TRANSFORM_MESSAGE_BYTES;
	limits.streams = 16;
	limits.calls = 16 * TRANSFORM_VALUES_MAX;
	return service_open(kekd.pool, &limits, &transform_grpc_service, kekd.transform, ret_fd);
}

size_t served_kms_value(struct span path, struct span plain, uint8_t *out, size_t room)
{
	static const char prefix[] = "k8s:enc:kms:v2:kekd:";
	static const uint8_t seed[32] = "a seed of kube-apiserver's";
	const size_t head = sizeof(prefix) - 1;
	const size_t data = DEKVALUE_INFO + KEKD_GCM_NONCE + plain.len + KEKD_GCM_TAG;
	struct encobj obj = { .type = DEK_HKDF_XNONCE_SEED };
	_cleanup_free_ uint8_t *tail = NULL;
	size_t tail_len = 0, n = head;
	uint8_t *at, dek[32];
	int r = chain_bed_seal(&kekd.bed, OP_KMS_V2, span_of(seed, sizeof(seed)));

	obj.dek = chain_bed_output(&kekd.bed);
	obj.key_id = span_str(kekd.bed.op.key_id);
	if (r == 0)
		r = encobj_tail(&obj, &tail, &tail_len);
	if (r < 0 || head + ENCOBJ_HEAD_MAX + data + tail_len > room)
		return 0;
	memcpy(out, prefix, head);
	n += encobj_head(out + n, data);
	at = out + n;
	memset(at, 3, DEKVALUE_INFO + KEKD_GCM_NONCE);
	r = hkdf_expand_sha256(span_of(seed, sizeof(seed)), span_of(at, DEKVALUE_INFO), dek);
	if (r == 0)
		r = openssl_dek_seal(span_of(dek, sizeof(dek)), at + DEKVALUE_INFO, path, plain,
				     at + DEKVALUE_INFO + KEKD_GCM_NONCE);
	memcpy(at + data, tail, tail_len);
	return r < 0 ? 0 : n + data + tail_len;
}

static int kekd_turn(void)
{
	defer_run(&kekd.bed.defer);
	while (engine_flush(kekd.bed.bed.engine))
		;
	grpc_server_flush(kekd.server);
	/* A run that is in flight ends by itself: the holder's is waited for. */
	return ring_turn(kekd.ring, engine_idle(kekd.bed.bed.engine));
}

static void kekd_close(void)
{
	grpc_server_abort(kekd.server);
	while (!grpc_server_drained(kekd.server))
		kekd_turn();
	grpc_server_free(kekd.server);
	kms_service_free(kekd.service);
	transform_service_free(kekd.transform);
	secpool_free(kekd.pool);
	if (kekd.ring != kekd.bed.bed.ring)
		ring_free(kekd.ring);
	chain_bed_close(&kekd.bed);
}

static int kekd_open(int *ret_fd)
{
	return plugin_open(BED_OPENSSL, RING_EPOLL, ret_fd);
}

static int openssl_open(int *ret_fd)
{
	return plugin_open(BED_OPENSSL, RING_AUTO, ret_fd);
}

static int holder_open(int *ret_fd)
{
	return plugin_open(BED_HOLDER, RING_AUTO, ret_fd);
}

static int value_open(int *ret_fd)
{
	return plugin_open(BED_VALUE, RING_AUTO, ret_fd);
}

static int kernel_open(int *ret_fd)
{
	return plugin_open(BED_KERNEL, RING_AUTO, ret_fd);
}

const struct served served_kekd = { kekd_open, kekd_turn, kekd_close };
const struct served served_transform = { transform_open, kekd_turn, kekd_close };
const struct served served_openssl = { openssl_open, kekd_turn, kekd_close };
const struct served served_holder = { holder_open, kekd_turn, kekd_close };
const struct served served_kernel = { kernel_open, kekd_turn, kekd_close };
const struct served served_value = { value_open, kekd_turn, kekd_close };
