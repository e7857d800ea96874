# SPDX-License-Identifier: Apache-2.0
#
# Raw figures (see tests/bench/bench) of the levels that are named as arguments, to one array of flat
# objects, in the order of their first line.

def number: if . == "" then null else tonumber end;
def text: if . == "" then null else . end;

def median: sort | length as $n | if $n % 2 == 1 then .[$n / 2 | floor] else (.[$n / 2 - 1] + .[$n / 2]) / 2 end;

[inputs | split("\t") | select(length == 12 and (.[1] | IN($ARGS.positional[])))]
| to_entries
| group_by(.value[:11])
| sort_by(.[0].key)
| map(
    .[0].value as $id
    | map(.value[11] | tonumber) as $values
    | {
        kernel: $id[0], level: $id[1], alg: ($id[2] | text), op: ($id[3] | text),
        bytes: ($id[4] | number), inflight: ($id[5] | number), api: ($id[6] | text),
        connections: ($id[7] | number), streams: ($id[8] | number), subject: $id[9],
        metric: $id[10],
        median: ($values | median), min: ($values | min), max: ($values | max),
        runs: ($values | length)
      })
