/* SPDX-License-Identifier: Apache-2.0 */
/* Turns and counters are those of daemon/server. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/kms/service.h"
#include "daemon/obs/metrics.h"
#include "daemon/wire/grpc.h"
#include "tests/bench/served/served.h"
#include "tests/support/chain_bed.h"

#define PLUGIN_YAML                                                                           \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" \
	"- resources: [secrets]\n  providers:\n  - aesgcm: { keys: [ { name: primary } ] }\n"

static struct {
	struct chain_bed bed;
	struct ring *ring;
	struct kms_service *service;
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
	metrics_observe(ctx, e->method, e->status, now_ns() - e->started_ns);
	return 0;
}

/* The kernel backend's bed comes with a ring; the others get one that is ours. */
static int ring_make(enum ring_kind kind)
{
	kekd.ring = kekd.bed.bed.ring;
	return kekd.ring ? 0 : ring_new(kind, 64, &kekd.ring);
}

static int plugin_open(enum bed_backend backend, enum ring_kind kind, int *ret_fd)
{
	struct secpool *pool;
	int listener = -1, r;

	r = bed_make(backend);
	if (r == 0)
		r = ring_make(kind);
	if (r < 0)
		return r;
	pool = kekd.bed.pool;
	r = kms_service_new(kekd.bed.chain, pool, on_event, &kekd.stats, &kekd.service);
	if (r == 0)
		r = grpc_server_new(kekd.ring, pool, &grpc_limits_default, &kekd.server);
	if (r == 0)
		r = connection_make(&listener, ret_fd);
	if (r < 0)
		return r;
	kekd.uid = getuid();
	kekd.peers = (struct grpc_peers){ .uids = &kekd.uid, .n_uids = 1 };
	return grpc_server_listen(kekd.server, listener, &kms_grpc_service, &kekd.peers,
				  kekd.service);
}

static int kekd_turn(void)
{
	defer_run(&kekd.bed.defer);
	while (engine_flush(kekd.bed.bed.engine))
		;
	grpc_server_flush(kekd.server);
	return ring_turn(kekd.ring, true);
}

static void kekd_close(void)
{
	grpc_server_abort(kekd.server);
	while (!grpc_server_drained(kekd.server))
		kekd_turn();
	grpc_server_free(kekd.server);
	kms_service_free(kekd.service);
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

static int kernel_open(int *ret_fd)
{
	return plugin_open(BED_KERNEL, RING_AUTO, ret_fd);
}

const struct served served_kekd = { kekd_open, kekd_turn, kekd_close };
const struct served served_openssl = { openssl_open, kekd_turn, kekd_close };
const struct served served_kernel = { kernel_open, kekd_turn, kekd_close };
