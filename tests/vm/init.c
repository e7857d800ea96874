/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the test guest: makes the host's file system the guest's, runs one command in it and
 * hands its output and exit status back.
 *
 * The host's / arrives read-only by virtiofs (tag "hostroot") and lies below a tmpfs overlay, so
 * that every write stays in the guest's memory.  The command's stdout and stderr are virtio-serial
 * ports ("out", "err"); the third port, "status", tells the host "start", and at the end
 * "exit N".  A fourth port, "forward", exists only when the job names a bridge: tests/vm/forward.c,
 * started beside the command with the port as its standard input.  What to run is in a job file on the host's file system: NUL-terminated records whose
 * first byte is their kind (see job_record()), the last one "." so that a torn file is noticed.
 *
 * Invariants.  Port writes reach the host in order and at once, because the host turns off
 * ioeventfd and writes to plain files; so what is written before "exit N" is with the host.  All
 * processes are dead before "exit N", so nothing can follow it.  Any failure before the command
 * runs is told on the console and ends in "exit 125".
 *
 * Kernel caveats.  PID 1 shares its root directory with the kernel threads (both are forked with
 * CLONE_FS from the boot task), so its chroot is also where the kernel finds /sbin/modprobe.
 * Unknown parameters NAME=VALUE of the kernel command line arrive as environment of PID 1.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif

enum {
	EXIT_VM = 125,
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNAL = 128,
	/* Where the host expects isa-debug-exit. */
	DEBUG_EXIT_PORT = 0xf4,
	MAX_SHARES = 8,
	MAX_BRIDGE_ARGS = 16,
	/* What systemd gives to services. */
	NOFILE_SOFT = 1024,
	NOFILE_HARD = 524288,
};

/* Strings point into the job file's bytes, which live until the guest ends. */
struct job {
	const char *cwd;
	const char *modules;            /* host directory to show as /lib/modules/RELEASE */
	const char *shares[MAX_SHARES]; /* host directories the guest may write to */
	size_t n_shares;
	char *bridge[MAX_BRIDGE_ARGS + 1]; /* the bridge's program and arguments, or none */
	size_t n_bridge;
	char **env;
	size_t n_env;
	char **argv;
	size_t n_argv;
	bool complete;
};

static int status_port = -1;

/* Ends the guest: `status` goes to the host, then the machine stops.  Never returns. */
static _Noreturn void finish(int status)
{
	sync();
	if (status_port >= 0)
		dprintf(status_port, "exit %d\n", status);
#ifdef __x86_64__ /* sooner than by ACPI */
	if (ioperm(DEBUG_EXIT_PORT, 1, 1) == 0)
		outb(0, DEBUG_EXIT_PORT);
#endif
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	finish(EXIT_VM);
}

/* A mount that only some commands need: a failure is told and passed over. */
static void mount_optional(const char *type, const char *at, const char *options)
{
	mkdir(at, 0755);
	if (mount(type, at, type, MS_NOSUID, options) < 0)
		fprintf(stderr, "init: %s on %s: %s\n", type, at, strerror(errno));
}

static void mount_needed(const char *source, const char *type, const char *at, unsigned long flags,
			 const char *options)
{
	mkdir(at, 0755);
	if (mount(source, at, type, flags, options) < 0)
		die(at);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		die(path);
	close(fd);
}

/* Loads /modules/NN-name.ko in the order of their names, which is that of their dependencies. */
static void load_modules(void)
{
	struct dirent **entries;
	char path[PATH_MAX];
	int n;

	n = scandir("/modules", &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "/modules/%s", entries[i]->d_name);
			load_module(path);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/* Whether the virtio port with this sysfs name (vport0p1) is called `name`. */
static bool port_is_called(const char *sysfs_name, const char *name)
{
	char path[PATH_MAX], called[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", sysfs_name);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(called, sizeof(called), file))
		called[0] = '\0';
	fclose(file);
	called[strcspn(called, "\n")] = '\0';
	return strcmp(called, name) == 0;
}

/* Returns the opened port, or -ENOENT while the host has not announced it. */
static int port_try_open(const char *name)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	char path[PATH_MAX];
	int fd = -ENOENT;

	if (!dir)
		return -ENOENT;
	while (fd < 0 && (entry = readdir(dir))) {
		if (!port_is_called(entry->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = -ENOENT;
	}
	closedir(dir);
	return fd;
}

/* The ports appear some time after the driver's module is loaded; the host's boot limit bounds
 * the wait. */
static int port_open(const char *name)
{
	const struct timespec pause_time = { .tv_nsec = 1000000 };
	int fd;

	while ((fd = port_try_open(name)) < 0)
		nanosleep(&pause_time, NULL);
	return fd;
}

/* Takes one record, kind and text; the text is borrowed for the guest's life. */
static void job_record(struct job *job, char *record)
{
	char *text = record + 1;

	switch (record[0]) {
	case 'd':
		job->cwd = text;
		break;
	case 'm':
		job->modules = text;
		break;
	case 's':
		if (job->n_shares < MAX_SHARES)
			job->shares[job->n_shares++] = text;
		break;
	case 'b':
		if (job->n_bridge < MAX_BRIDGE_ARGS)
			job->bridge[job->n_bridge++] = text;
		break;
	case 'e':
		job->env[job->n_env++] = text;
		break;
	case 'a':
		job->argv[job->n_argv++] = text;
		break;
	case '.':
		job->complete = true;
		break;
	default:
		break;
	}
}

/* Returns the file's bytes with a NUL behind them; the caller frees. */
static char *read_whole(const char *path, size_t *ret_size)
{
	struct stat st;
	size_t done = 0;
	char *bytes;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	bytes = calloc(1, (size_t)st.st_size + 1);
	if (!bytes)
		die("job file");
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, bytes + done, (size_t)st.st_size - done);

		if (n <= 0)
			die(path);
		done += (size_t)n;
	}
	close(fd);
	*ret_size = done;
	return bytes;
}

static struct job job_read(const char *path)
{
	struct job job = { .cwd = "/" };
	size_t size;
	char *bytes = read_whole(path, &size);

	/* A record has two bytes at least, so there are no more of either kind than this. */
	job.env = calloc(size / 2 + 2, sizeof(*job.env));
	job.argv = calloc(size / 2 + 2, sizeof(*job.argv));
	if (!job.env || !job.argv)
		die("job file");
	for (char *at = bytes; at < bytes + size; at += strlen(at) + 1)
		job_record(&job, at);
	errno = EBADMSG;
	if (!job.complete || job.n_argv == 0)
		die("job file");
	return job;
}

static void mount_early(void)
{
	mount_needed("proc", "proc", "/proc", 0, NULL);
	mount_needed("sysfs", "sysfs", "/sys", 0, NULL);
	mount_needed("devtmpfs", "devtmpfs", "/dev", 0, NULL);
}

/*
 * /new: the host's / as the lower layer, memory as the upper one. A guest of another architecture has its own
 * packages between them (tag "over"), so that its programs and libraries are in the places of the host's.
 */
static void mount_root(void)
{
	bool over = getenv("kekd_over") != NULL;

	mount_needed("hostroot", "virtiofs", "/lower", MS_RDONLY, NULL);
	if (over)
		mount_needed("over", "virtiofs", "/over", MS_RDONLY, NULL);
	mount_needed("upper", "tmpfs", "/upper", 0, "size=75%,mode=755");
	mkdir("/upper/data", 0755);
	mkdir("/upper/work", 0755);
	mount_needed("root", "overlay", "/new", 0,
		     over ? "lowerdir=/over:/lower,upperdir=/upper/data,workdir=/upper/work"
			  : "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work");
}

static void mount_kernel_interfaces(void)
{
	mount_needed("proc", "proc", "/new/proc", MS_NOSUID, NULL);
	mount_needed("sysfs", "sysfs", "/new/sys", MS_NOSUID, NULL);
	mount_needed("devtmpfs", "devtmpfs", "/new/dev", MS_NOSUID, NULL);
	mount_needed("run", "tmpfs", "/new/run", MS_NOSUID, "mode=755");
	mount_optional("devpts", "/new/dev/pts", "gid=5,mode=620,ptmxmode=666");
	mount_optional("tmpfs", "/new/dev/shm", "mode=1777");
	mount_optional("securityfs", "/new/sys/kernel/security", NULL);
	mount_optional("cgroup2", "/new/sys/fs/cgroup", NULL);
}

static void link_dev(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/new/dev/fd" },
		{ "/proc/self/fd/0", "/new/dev/stdin" },
		{ "/proc/self/fd/1", "/new/dev/stdout" },
		{ "/proc/self/fd/2", "/new/dev/stderr" },
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			die(links[i][1]);
}

static void enter_root(void)
{
	if (chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		die("enter the new root");
}

/* Makes a directory and what is missing above it; the overlay takes them. */
static void make_path(const char *path)
{
	char part[PATH_MAX];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdir(part, 0755);
	}
	mkdir(path, 0755);
}

/* The guest kernel's modules at the place where modprobe looks. */
static void show_modules(const struct job *job)
{
	const char *release = strrchr(job->modules, '/');
	char at[PATH_MAX];

	snprintf(at, sizeof(at), "/lib/modules%s", release);
	make_path(at);
	if (mount(job->modules, at, NULL, MS_BIND, NULL) < 0)
		die(at);
}

/* Each share is a file system of its own, at the host's path. */
static void mount_shares(const struct job *job)
{
	char tag[16];

	for (size_t i = 0; i < job->n_shares; i++) {
		snprintf(tag, sizeof(tag), "share%zu", i);
		make_path(job->shares[i]);
		if (mount(tag, job->shares[i], "virtiofs", 0, NULL) < 0)
			die(job->shares[i]);
	}
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		fprintf(stderr, "init: loopback: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void set_limits(void)
{
	const struct rlimit nofile = { .rlim_cur = NOFILE_SOFT, .rlim_max = NOFILE_HARD };

	if (setrlimit(RLIMIT_NOFILE, &nofile) < 0)
		fprintf(stderr, "init: RLIMIT_NOFILE: %s\n", strerror(errno));
}

/* In the child: becomes the command.  Never returns. */
static _Noreturn void become_command(const struct job *job, int out, int err)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	if (chdir(job->cwd) < 0) {
		dprintf(STDERR_FILENO, "vm: %s: %s\n", job->cwd, strerror(errno));
		_exit(EXIT_VM);
	}
	environ = job->env;
	execvp(job->argv[0], job->argv);
	dprintf(STDERR_FILENO, "vm: %s: %s\n", job->argv[0], strerror(errno));
	_exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* In the child: becomes the bridge, whose messages go to the console.  Never returns. */
static _Noreturn void become_bridge(const struct job *job, int port)
{
	setsid();
	dup2(port, STDIN_FILENO);
	execv(job->bridge[0], job->bridge);
	fprintf(stderr, "init: %s: %s\n", job->bridge[0], strerror(errno));
	_exit(EXIT_VM);
}

/* Starts the bridge if the job has one.  It lives until the guest ends. */
static void start_bridge(const struct job *job)
{
	pid_t pid;
	int port;

	if (job->n_bridge == 0)
		return;
	port = port_open("forward");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		become_bridge(job, port);
	close(port);
}

/* Collects every dead process; returns whether `pid` was one, its wait status in *ret_status. */
static bool reap(pid_t pid, int *ret_status)
{
	bool found = false;
	pid_t dead;
	int status;

	while ((dead = waitpid(-1, &status, WNOHANG)) > 0) {
		if (dead != pid)
			continue;
		*ret_status = status;
		found = true;
	}
	return found;
}

/* Waits for the command, reaping orphans meanwhile.  SIGTERM ends it early. */
static int wait_for_command(pid_t pid, const sigset_t *signals)
{
	int status = 0;

	for (;;) {
		if (sigwaitinfo(signals, NULL) == SIGTERM)
			return EXIT_SIGNAL + SIGTERM;
		if (!reap(pid, &status))
			continue;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		return EXIT_SIGNAL + WTERMSIG(status);
	}
}

static void kill_the_rest(void)
{
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static int run_command(const struct job *job, int out, int err)
{
	sigset_t signals;
	int status;
	pid_t pid;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	dprintf(status_port, "start\n");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		become_command(job, out, err);
	status = wait_for_command(pid, &signals);
	kill_the_rest();
	return status;
}

/* The job file's path on the host, below the mounted host root. */
static struct job job_find(void)
{
	const char *path = getenv("kekd_job");
	char lower[PATH_MAX];

	errno = EINVAL;
	if (!path)
		die("kekd_job");
	snprintf(lower, sizeof(lower), "/lower%s", path);
	return job_read(lower);
}

int main(void)
{
	struct job job;
	int out, err;

	mount_early();
	open_console();
	load_modules();
	status_port = port_open("status");
	out = port_open("out");
	err = port_open("err");
	mount_root();
	job = job_find();
	mount_kernel_interfaces();
	link_dev();
	enter_root();
	show_modules(&job);
	mount_shares(&job);
	loopback_up();
	set_limits();
	sethostname("kekd-vm", strlen("kekd-vm"));
	start_bridge(&job);
	finish(run_command(&job, out, err));
}
