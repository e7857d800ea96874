/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only trying shows: does this kernel, asked by this process, encrypt under a key it gets by
 * serial; and how is the daemon. As root, or the answers are those of a user whom kekd is not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include "daemon/base/log.h"
#include "daemon/ctl/doctor.h"
#include "daemon/sys/afalg.h"

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

static void check_afalg(struct doctor *d)
{
	static const struct {
		const char *type, *name, *use;
	} algs[] = {
		{ "hash", "hmac(sha256)", "check values" },
		{ "skcipher", "ecb(aes)", "all encryption" },
	};
	_cleanup_close_ int tfm = -1;
	int r;

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
	r = try_serial(tfm);
	if (r < 0)
		doctor_report(d, DOCTOR_PROBLEM, "keys", afalg_cure(r),
			      "a key of the keyring cannot be used by its serial: %s",
			      errno_text(r));
	else
		doctor_report(d, DOCTOR_OK, "keys", "", "a key of the keyring works by its serial");
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

static void check_socket(struct doctor *d, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		doctor_report(d, DOCTOR_PROBLEM, "socket", "restart kekd.socket, or kekd", "%s: %s",
			      path, errno_text(errno));
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
		doctor_report(d, DOCTOR_PROBLEM, "active key", "kekctl unseal",
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
	if (strcmp(s->root, "ephemeral") == 0)
		doctor_report(d, DOCTOR_WARNING, "root key",
			      "rootKey: { source: command, ... }; see kekd.yaml(5)",
			      "ephemeral: nothing can be decrypted after a restart of kekd");
	else
		doctor_report(d, DOCTOR_OK, "root key", "", "source %s", s->root);
	if (strcmp(s->backend, "kernel") != 0)
		doctor_report(d, DOCTOR_WARNING, "backend", "backend: kernel",
			      "%s: keys are in the daemon's memory", s->backend);
	if (s->server_starts > s->workers)
		doctor_report(d, DOCTOR_WARNING, "restarts", "journalctl -u kekd",
			      "the server process was replaced %u times",
			      s->server_starts - s->workers);
}

static void check_daemon(struct doctor *d)
{
	const struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply reply;
	char words[512];
	int r;

	r = ctl_try(d->ctl, &(struct ctl_exchange){ .req = &req }, &reply);
	if (r == 0 && reply.r < 0)
		snprintf(words, sizeof(words), "%s", reply.text);
	else if (r < 0)
		ctl_admin_words(d->ctl, r, words, sizeof(words));
	if (r < 0 || reply.r < 0) {
		doctor_report(
			d, DOCTOR_PROBLEM, "daemon",
			"systemctl start kekd; or name its admin.socket with --admin; be root",
			"%s", words);
		return;
	}
	check_status(d, &reply.status);
	check_socket(d, reply.status.socket);
}

void doctor_live(struct doctor *d)
{
	check_afalg(d);
	check_clock(d);
	check_disk(d);
	check_daemon(d);
}
