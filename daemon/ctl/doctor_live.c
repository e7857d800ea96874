/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only trying shows: does this kernel, asked by this process, encrypt under a key it gets by
 * serial; and how is the daemon. As root, or the answers are those of a user whom kekd is not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include "daemon/base/log.h"
#include "daemon/ctl/doctor.h"
#include "daemon/keys/escrow.h"
#include "daemon/sys/afalg.h"
#include "daemon/sys/connect.h"

#define STORE "/var/lib/kekd"

/* A public key of zeroes in a fresh session keyring that ends with this process. */
static int try_serial(int tfm)
{
	static const uint8_t zeroes[KEKD_AES_KEY_MAX];
	key_serial ring, key;
	int r;

	r = keyring_new_session();
	if (r == 0)
		r = keyring_new("kekctl-doctor", &ring);
	if (r == 0)
		r = keyring_add_user(ring, "kekctl-doctor", span_of(zeroes, sizeof(zeroes)), &key);
	return r == 0 ? afalg_set_key(tfm, key) : r;
}

/* Whether a key works by its serial matters to a daemon that is not told to do without. */
static void check_keying(struct doctor *d, int tfm, bool by_value)
{
	int r = by_value ? 0 : try_serial(tfm);

	if (by_value)
		doctor_report(
			d, DOCTOR_WARNING, "custody",
			"custody: serial, on Linux 6.2 or newer; see kekd.yaml(5)",
			"value: each key passes through the keeper's memory when it is loaded");
	else if (r < 0)
		doctor_report(d, DOCTOR_PROBLEM, "keys", afalg_cure(r),
			      "a key of the keyring cannot be used by its serial: %s",
			      errno_text(r));
	else
		doctor_report(d, DOCTOR_OK, "keys", "", "a key of the keyring works by its serial");
}

static const struct {
	const char *type, *name, *use;
} algs[] = {
	{ "hash", "hmac(sha256)", "check values" },
	{ "skcipher", "ecb(aes)", "all encryption" },
};

unsigned int doctor_best_custody(void)
{
	_cleanup_close_ int tfm = -1;

	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		closep(&tfm);
		tfm = -1;
		if (afalg_bind(algs[i].type, algs[i].name, &tfm) < 0)
			return CONFIG_CUSTODY_HOLDER;
	}
	return try_serial(tfm) < 0 ? CONFIG_CUSTODY_VALUE : CONFIG_CUSTODY_SERIAL;
}

/* What the kernel does for a daemon whose keys are in it. */
void doctor_kernel(struct doctor *d)
{
	_cleanup_close_ int tfm = -1;
	int r;

	if (d->custody == CONFIG_CUSTODY_HOLDER)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		closep(&tfm);
		tfm = -1;
		r = afalg_bind(algs[i].type, algs[i].name, &tfm);
		if (r < 0) {
			doctor_report(d, DOCTOR_PROBLEM, "AF_ALG", afalg_cure(r),
				      "%s (%s) is refused: %s", algs[i].name, algs[i].use,
				      errno_text(r));
			return;
		}
	}
	doctor_report(d, DOCTOR_OK, "AF_ALG", "", "ecb(aes) and hmac(sha256) can be bound");
	check_keying(d, tfm, d->custody == CONFIG_CUSTODY_VALUE);
}

static void check_clock(struct doctor *d)
{
	struct timex t = { 0 };

	if (adjtimex(&t) < 0 || t.status & STA_UNSYNC)
		doctor_report(d, DOCTOR_WARNING, "clock", "timedatectl set-ntp true",
			      "not synchronised: ages of keys and times of the audit may be wrong");
	else
		doctor_report(d, DOCTOR_OK, "clock", "", "synchronised");
}

static void check_disk(struct doctor *d)
{
	struct statvfs s;

	if (statvfs(STORE, &s) < 0)
		return; /* another place: the daemon's own start says what is wrong there */
	if (s.f_flag & ST_RDONLY)
		doctor_report(d, DOCTOR_PROBLEM, "disk", "mount it read-write",
			      STORE
			      " is on a read-only file system: no key can be made or changed");
	else if (s.f_bavail * s.f_frsize < 1048576 || (s.f_files > 0 && s.f_favail < 16))
		doctor_report(d, DOCTOR_PROBLEM, "disk", "free some space there",
			      STORE " is almost full: no key can be made or changed");
	else
		doctor_report(d, DOCTOR_OK, "disk", "", "room for keys in " STORE);
}

static void check_socket(struct doctor *d, const struct admin_status *s, const char *path)
{
	struct ucred listener = { 0 };
	socklen_t len = sizeof(listener);
	_cleanup_close_ int fd = -1;
	struct stat st;
	pid_t who = -1; /* nobody; 0: of another pid namespace */

	/* The process that called listen(2) (unix(7)): the keeper or systemd. */
	if (connect_unix(path, &fd) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &len) == 0)
		who = listener.pid;
	if (stat(path, &st) < 0)
		doctor_report(d, DOCTOR_PROBLEM, "socket", "restart kekd.socket, or kekd", "%s: %s",
			      path, errno_text(errno));
	else if (who < 0)
		doctor_report(d, DOCTOR_PROBLEM, "socket",
			      "systemctl restart kekd.socket kekd, or restart kekd",
			      "%s: nobody listens there", path);
	else if (who > 1 && who != s->keeper_pid)
		doctor_report(d, DOCTOR_PROBLEM, "socket",
			      "end it, then systemctl reload kekd; or restart kekd",
			      "%s: somebody else listens there, pid %d", path, who);
	else if (st.st_mode & S_IWOTH)
		doctor_report(d, DOCTOR_WARNING, "socket",
			      "SocketMode= of kekd.socket, or socketMode: of kekd.yaml: \"0600\"",
			      "%s may be connected to by everybody; allowedPeers alone guards it",
			      path);
	else
		doctor_report(d, DOCTOR_OK, "socket", "", "%s, mode %04o", path,
			      st.st_mode & 07777);
}

/* A key is not what is missing where the keyset itself cannot be used: its own words have the cure. */
static void check_keyset(struct doctor *d, const struct admin_status *s)
{
	if (s->sealed)
		doctor_report(d, DOCTOR_PROBLEM, "active key", "see \"root key\"",
			      "none: the root key is not loaded, and kube-apiserver cannot write");
	else if (*s->keyset_text)
		doctor_report(d, DOCTOR_PROBLEM, "keyset", "kekctl keyset show; journalctl -u kekd",
			      "%s", s->keyset_text);
	else if (!*s->key_id)
		doctor_report(d, DOCTOR_PROBLEM, "active key",
			      "kekctl key list; kekctl key create NAME for the name in the "
			      "EncryptionConfiguration",
			      "none: kube-apiserver cannot write");
	if (*s->key_id)
		doctor_report(d, DOCTOR_OK, "active key", "", "%s", s->key_id);
}

static void put_problem(void *ctx, const char *what, const char *cure)
{
	doctor_report(ctx, DOCTOR_PROBLEM, "health", cure, "%s", what);
}

/* Nobody notices by himself that shares are lost. They are tested against a keyset, so there has to be one. */
static void check_escrow(struct doctor *d, const struct admin_status *s)
{
	static const char cure[] = "kekctl root verify, on one member; if there are no shares, see "
				   "kekd-ceremony(7)";
	int64_t days = ctl_escrow_days(s);

	if (strcmp(s->root, "ephemeral") == 0 || s->sealed || s->generation == 0)
		return;
	if (days < 0)
		doctor_report(
			d, DOCTOR_WARNING, "escrow", cure,
			"this node knows of no test of the root key's shares: if they are not "
			"good, every value is lost with the machines");
	else
		doctor_report(d, days > ESCROW_DAYS ? DOCTOR_WARNING : DOCTOR_OK, "escrow",
			      days > ESCROW_DAYS ? cure : "",
			      "the root key's shares were tested %" PRId64 " days ago", days);
}

static void check_status(struct doctor *d, const struct admin_status *s)
{
	if (s->workers_serving == 0)
		doctor_report(d, DOCTOR_PROBLEM, "daemon", "journalctl -u kekd",
			      "the keeper runs, but no server serves");
	else if (s->workers_serving < s->workers)
		doctor_report(d, DOCTOR_WARNING, "daemon", "journalctl -u kekd",
			      "only %u of %u servers serve", s->workers_serving, s->workers);
	else
		doctor_report(d, DOCTOR_OK, "daemon", "", "kekd %s serves", s->version);
	check_keyset(d, s);
	ctl_health(&s->health, put_problem, d);
	if (strcmp(s->root, "ephemeral") == 0)
		doctor_report(d, DOCTOR_WARNING, "root key",
			      "rootKey: { source: command, ... }; see kekd.yaml(5)",
			      "ephemeral: nothing can be decrypted after a restart of kekd");
	else if (s->sealed)
		doctor_report(
			d, DOCTOR_PROBLEM, "root key",
			strcmp(s->root, "command") == 0
				? "put right what the command says, then kekctl unseal --retry; "
				  "or give the root key by hand with kekctl unseal"
				: "kekctl unseal",
			"sealed: %s", s->sealed_text);
	else if (*s->root_coming)
		doctor_report(d, DOCTOR_WARNING, "root key",
			      "kekctl root rotate, or kekctl root rotate --abort",
			      "source %s, fingerprint %s; being rotated to %s", s->root, s->root_id,
			      s->root_coming);
	else
		doctor_report(d, DOCTOR_OK, "root key", "", "source %s, fingerprint %s", s->root,
			      s->root_id);
	check_escrow(d, s);
	if (strcmp(s->custody, "holder") == 0)
		doctor_report(
			d, DOCTOR_WARNING, "custody",
			"custody: serial, or value, where the kernel has AF_ALG; see kekd.yaml(5)",
			"holder: keys are in the memory of kekd-holder, the root key in the keeper's");
	if (s->server_starts > s->workers)
		doctor_report(d, DOCTOR_WARNING, "restarts", "journalctl -u kekd",
			      "the server process was replaced %u times",
			      s->server_starts - s->workers);
}

void doctor_ask(struct doctor *d)
{
	const struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };

	d->asked = ctl_try(d->ctl, &(struct ctl_exchange){ .req = &req }, &d->reply);
	for (unsigned int i = 0; d->asked == 0 && d->reply.r == 0 && config_custody_names[i]; i++)
		if (strcmp(d->reply.status.custody, config_custody_names[i]) == 0)
			d->custody = i;
}

static void check_daemon(struct doctor *d)
{
	const struct admin_status *s = &d->reply.status;
	char words[512];

	if (d->asked == 0 && d->reply.r == 0) {
		check_status(d, s);
		check_socket(d, s, s->socket);
		if (*s->transform)
			check_socket(d, s, s->transform);
		return;
	}
	if (d->asked == 0)
		snprintf(words, sizeof(words), "%s", d->reply.text);
	else
		ctl_admin_words(d->ctl, d->asked, words, sizeof(words));
	doctor_report(d, DOCTOR_PROBLEM, "daemon",
		      "systemctl start kekd; or name its admin.socket with --admin; be root", "%s",
		      words);
}

void doctor_live(struct doctor *d)
{
	doctor_kernel(d);
	check_clock(d);
	check_disk(d);
	check_daemon(d);
}
