/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the bridge share (forward.c says what it is): its state, all of it bounded, and
 * the functions by which they call each other.  All descriptors and buffers belong to struct mux.
 */
#ifndef KEKD_TESTS_VM_FORWARD_H
#define KEKD_TESTS_VM_FORWARD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	MAX_RULES = 8,
	MAX_STREAMS = 128,
	WINDOW = 65536, /* bytes buffered per stream and direction */
	CHUNK = 8192,   /* most bytes of one DATA frame */
	PORT_BUFFER = 8 * CHUNK,
	BACKLOG = 128,
	RETRY_MS = 10,
};

enum frame_type { READY = 1, OPEN, DATA, CREDIT, FIN, STOP, CLOSED };

/* In the byte order of the machine, which both ends share. */
struct frame {
	uint16_t stream;
	uint16_t type;
	uint32_t arg; /* OPEN: which rule; DATA and CREDIT: bytes */
};

/* One connection.  "In" is what this end reads from fd, "out" what it writes there. */
struct stream {
	bool used;
	int fd; /* owned; -1 once closed */
	uint32_t rule;
	bool connecting;
	bool open_owed, stop_owed, fin_sent, fin_got, closed_got;
	bool in_over;    /* nothing more is read from fd */
	bool out_broken; /* fd takes no more bytes */
	uint32_t credit; /* bytes that may be sent to the other end */
	uint32_t eaten;  /* bytes written to fd and not granted again yet */
	uint8_t *buffer; /* owned; WINDOW bytes, a ring */
	uint32_t head, fill;
};

struct rule {
	const char *path; /* borrowed from argv */
	char temporary[32];
	int dir;      /* owned; where the socket file is */
	int listener; /* owned */
	ino_t ino;
	bool published;
};

struct mux {
	bool host;
	bool ready;
	int port;    /* owned */
	int signals; /* owned; -1 in the guest */
	struct rule rules[MAX_RULES];
	uint32_t n_rules;
	struct stream streams[MAX_STREAMS];
	uint32_t turn; /* the stream whose input is read first */
	uint8_t in[PORT_BUFFER];
	size_t in_fill;
	uint8_t out[PORT_BUFFER];
	size_t out_start, out_end;
};

/* forward_stream.c: frames and streams. */

/* Takes over fd (-1: none yet).  0 or -ENOMEM. */
int stream_init(struct stream *s, int fd, uint32_t rule);
/* What to poll a stream for now; fd -1: nothing. */
struct pollfd stream_events(const struct mux *mux, const struct stream *s);
/* Moves what can be moved after poll() has answered `revents`. */
void stream_turn(struct mux *mux, uint32_t number, short revents);
/* Reads from the port and acts on each whole frame.  0, -EPIPE when the other end is gone, or another
 * -errno. */
int in_read(struct mux *mux);
/* Writes what the port takes.  0, or -errno when the port is gone. */
int out_flush(struct mux *mux);

/* forward_rule.c: the host's listening sockets. */

/* Makes the socket under another name, so that what can fail does so at the start. */
int rule_listen(struct rule *rule, uint32_t number);
/* Gives it its name, which must still be free: -EEXIST. */
int rule_publish(struct rule *rule);
/* Removes our socket file, and no other that has taken its place. */
void rule_withdraw(const struct rule *rule);

#endif
