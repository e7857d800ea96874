# SPDX-License-Identifier: Apache-2.0
#
# Prints what is wrong with a results.json; nothing when it is as it should be.

def one_of($list): . as $x | any($list[]; . == $x);
def whole: type == "number" and . == floor and . > 0;

def fields: ["alg", "api", "bytes", "connections", "inflight", "kernel", "level", "max", "median",
  "metric", "min", "op", "runs", "streams", "subject"];

def subjects: {
  cipher: ["openssl", "libkcapi", "afalg-sync", "afalg-uring", "engine", "userspace-coalesced"],
  rpc: ["kernel", "value", "holder", "openssl", "go", "nghttpd"],
  bulk: ["kernel", "holder"]
};

def metrics: {
  cipher: ["per_second", "instructions"],
  rpc: ["per_second", "p50_us", "p99_us", "cpu_s_per_100k", "peak_rss_kib", "instructions"],
  bulk: ["per_second"]
};

def ops: {
  cipher: ["encrypt", "decrypt"], rpc: ["status", "encrypt", "decrypt"], bulk: ["encrypt", "decrypt"]
};

def faults:
  (if keys != fields then "fields: \(keys | join(" "))" else empty end),
  (if .kernel | one_of(["host", "6.12", "7.3"]) then empty else "kernel" end),
  (if .level | one_of(["cipher", "rpc", "bulk"]) then
    (.level as $level
    | (if .subject | one_of(subjects[$level]) then empty else "subject" end),
      (if .metric | one_of(metrics[$level]) then empty else "metric" end),
      (if .op | one_of(ops[$level]) then empty else "op" end))
   else "level" end),
  (if .alg | one_of(["gcm", "cbc"]) then empty else "alg" end),
  (if .bytes | whole then empty else "bytes" end),
  (if .inflight | whole then empty else "inflight" end),
  (if .level == "rpc" then
    (if (.api | one_of(["v1", "v2"])) and (.connections | whole) and (.streams | whole)
        and .inflight == .connections * .streams
     then empty else "api, connections, streams" end)
   elif .api == null and .connections == null and .streams == null then empty
   else "api, connections, streams of no rpc" end),
  (if [.median, .min, .max] | all(type == "number" and . > 0) then
    (if .min <= .median and .median <= .max then empty else "order of min, median, max" end)
   else "median, min, max" end),
  (if .runs | whole then empty else "runs" end);

if type != "array" or length == 0 then "no array, or an empty one"
else
  (to_entries[] | .key as $i | .value
   | if type != "object" then "\($i): no object" else faults | "\($i): \(.)" end),
  (group_by([.kernel, .level, .alg, .op, .bytes, .inflight, .api, .connections, .streams, .subject, .metric])[]
   | select(length > 1) | "twice: \(.[0] | tojson)")
end
