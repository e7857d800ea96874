/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `etcdctl get … -w json` prints: one JSON object that holds every key, however many:
 *
 *	{"header":{"cluster_id":…,"member_id":…,"revision":…},"kvs":[{"key":…,"value":…},…],"count":N}
 *
 * Bytes in, values out; nothing is kept but the value that is being read. Keys and values are
 * base64 (etcdserverpb.RangeResponse in Go's JSON). The JSON is jansson's to read, object by object.
 *
 * As people have it there may be more: lines of a log or of words before it; several answers, one after the
 * other, of which each goes on where --limit cut the one before; or the list of "kvs" alone.
 *
 * Strict where it decides what is counted: a repeated field, a key that is no base64, answers of several
 * clusters or a count that is not met is an error or makes the dump a truncated one. Fields that are not known
 * are skipped.
 */
#ifndef KEKD_DUMP_ETCDJSON_H
#define KEKD_DUMP_ETCDJSON_H

#include "daemon/dump/dump.h"

struct etcdjson;

/* @ctx, @info and @err borrowed for the reader's life. -ENOMEM. Caller frees. */
int etcdjson_new(dump_each_fn *each, void *ctx, struct dump_info *info, struct dump_error *err,
		 struct etcdjson **ret);
void etcdjson_free(struct etcdjson *j);
DEFINE_CLEANUP(struct etcdjson *, etcdjson_free);

/* More of the text. Errors of dump.h, and what each returned; nothing may follow one. */
int etcdjson_feed(struct etcdjson *j, struct span text);
/* The text is over. -EBADMSG when that is too early, or keys are missing. */
int etcdjson_end(struct etcdjson *j);

#endif
