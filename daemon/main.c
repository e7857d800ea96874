/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd: Kubernetes encryption at rest with keys that never leave the kernel.
 *
 * One program, two processes. The keeper (daemon/keeper/keeper.c) is what an operator starts: it
 * holds the keys' handles and reads the configuration. It starts the server
 * (daemon/server/server.c), this same program under another name and without any right, which
 * reads what clients send and gets ciphers it can use but not take away. With `workers: N` there are
 * N servers.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/crypto/holder.h"
#include "daemon/crypto/openssl_start.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keeper/spawn.h"
#include "daemon/server/server.h"

#define DEFAULT_CONFIG "/etc/kekd/kekd.yaml"

static const char usage[] =
	"usage: kekd [--config FILE] [--check [--unit]] [--ring auto|io_uring|epoll] [--debug]\n"
	"\n"
	"Serves KMS plugins for kube-apiserver with keys held by the kernel.\n"
	"\n"
	"  -c, --config FILE  configuration (default " DEFAULT_CONFIG ")\n"
	"      --check        check both configuration files and exit\n"
	"      --unit         with --check: compare with systemd's units too\n"
	"      --ring KIND    event loop, whatever the configuration says\n"
	"  -d, --debug        say what each process does; never keys or what clients send\n"
	"  -V, --version      version\n"
	"  -h, --help         this text\n"
	"\n"
	"SIGTERM finishes what is in flight and ends; SIGHUP reloads the configuration.\n"
	"See kekctl(1) for keys and status.\n";

enum { OPT_CHECK = 256, OPT_UNIT, OPT_RING };

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, OPT_CHECK },
	{ "unit", no_argument, NULL, OPT_UNIT },    { "ring", required_argument, NULL, OPT_RING },
	{ "debug", no_argument, NULL, 'd' },        { "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },         { NULL, 0, NULL, 0 },
};

static const struct {
	const char *name;
	enum ring_kind kind;
} rings[] = {
	{ "auto", RING_AUTO },
	{ "io_uring", RING_IO_URING },
	{ "epoll", RING_EPOLL },
};

static int usage_error(void)
{
	fputs(usage, stderr);
	return 2;
}

static int keeper(int argc, char **argv)
{
	struct keeper_options opt = { .config_path = DEFAULT_CONFIG };
	enum log_level level = LOG_LEVEL_INFO;
	bool check = false;
	size_t i;
	int c;

	while ((c = getopt_long(argc, argv, "c:dVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			opt.config_path = optarg;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_UNIT:
			opt.unit = true;
			break;
		case OPT_RING:
			for (i = 0; i < ARRAY_SIZE(rings) && strcmp(rings[i].name, optarg) != 0;)
				i++;
			if (i == ARRAY_SIZE(rings))
				return usage_error();
			opt.ring = rings[i].kind;
			opt.ring_forced = true;
			break;
		case 'd':
			level = LOG_LEVEL_DEBUG;
			break;
		case 'V':
			puts("kekd " KEKD_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return usage_error();
		}
	}
	if (optind != argc || (opt.unit && !check))
		return usage_error();
	log_init("kekd", level);
	if (check)
		return keeper_check(&opt);
	log_never_wait(true);
	return keeper_main(&opt);
}

int main(int argc, char **argv)
{
	bool debug = argc == 2 && strcmp(argv[1], SPAWN_DEBUG) == 0;
	int fd;

	/* Started without one of them, the next file opened would get its number, and the log be written there. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	closep(&fd);
	/* Before libcrypto is used: all of its memory is to be locked. */
	if ((argc == 1 || debug) && strcmp(argv[0], HOLDER_NAME) == 0) {
		log_init(HOLDER_NAME, debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
		return holder_main();
	}
	if (openssl_start() < 0)
		return EXIT_FAILURE;
	/* Only execveat(2) of the keeper gives this name; the link is where it put it. */
	if ((argc == 1 || debug) && strcmp(argv[0], SPAWN_ARGV0) == 0) {
		log_init(SPAWN_ARGV0, debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
		log_never_wait(false);
		return server_main(SPAWN_LINK_FD);
	}
	return keeper(argc, argv);
}
