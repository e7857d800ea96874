# SPDX-License-Identifier: Apache-2.0
#
# results.json to Markdown. $about: lines on machine and versions; $start: rows [kernel, subject, µs]
# of the time to the first answer; $workers, $scans, $custody: the files of that name. A number in a sentence is worked out from
# these: what they do not say, the report does not claim.

def kernels: [.[].kernel] | unique | sort_by(if . == "host" then "0" else . end);

# A row with each of the fields of $want; contains() would take "kernel-2" for "kernel".
def agrees($want): . as $row | all($want | to_entries[]; $row[.key] == .value);

# The median of the one row that has all of $want, or null.
def figure($want): first(.[] | select(agrees($want)) | .median) // null;

def cipher($kernel; $alg; $op; $bytes; $inflight; $subject; $metric):
  figure({kernel: $kernel, level: "cipher", alg: $alg, op: $op, bytes: $bytes, inflight: $inflight,
    subject: $subject, metric: $metric});

def rpc($kernel; $op; $c; $s; $subject; $metric):
  figure({kernel: $kernel, level: "rpc", op: $op, api: "v2", connections: $c, streams: $s,
    subject: $subject, metric: $metric});

def over($a; $b): if $a == null or $b == null or $b == 0 then null else $a / $b end;

# Three digits that count.
def short:
  if . == null then "–"
  elif . >= 1000000 then "\(. / 100000 | round / 10) M"
  elif . >= 100000 then "\(. / 1000 | round) k"
  elif . >= 1000 then "\(. / 100 | round / 10) k"
  elif . >= 100 then "\(round)"
  elif . >= 10 then "\(. * 10 | round / 10)"
  elif . >= 2 then "\(. * 100 | round / 100)"
  else "\(. * 1000 | round / 1000)" end;

def row: "| " + join(" | ") + " |";
def head: row, (map("---") | row);

# --- targets -----------------------------------------------------------------------------------

# What is close to its bound is not rounded to it.
def reached: if . != null and . > 0.95 and . < 1.05 then . * 10000 | round / 10000 | tostring else short end;

def judged($text; $value; $met):
  [$text, ($value | reached), if $value == null then "not measured" elif $met then "met" else "**missed**" end] | row;
def at_least($text; $value; $bound): judged("\($text), ≥ \($bound)"; $value; $value != null and $value >= $bound);
def at_most($text; $value; $bound): judged("\($text), ≤ \($bound)"; $value; $value != null and $value <= $bound);

# By time: messages a second of one over those of the other. By instructions: the other way round.
def gain($k; $inflight; $subject; $base):
  {time: over(cipher($k; "gcm"; "encrypt"; 32; $inflight; $subject; "per_second");
              cipher($k; "gcm"; "encrypt"; 32; $inflight; $base; "per_second")),
   instructions: over(cipher($k; "gcm"; "encrypt"; 32; $inflight; $base; "instructions");
                      cipher($k; "gcm"; "encrypt"; 32; $inflight; $subject; "instructions"))};

# Over the best of those that the kernel offers.
def gain_best($k; $bases):
  . as $all | [$bases[] | . as $base | $all | gain($k; 1; "engine"; $base)]
  | {time: ([.[].time | select(. != null)] | min), instructions: ([.[].instructions | select(. != null)] | min)};

def cipher_target($text; $gain; $bound):
  at_least("\($text), by time"; $gain.time; $bound),
  at_least("\($text), by instructions"; $gain.instructions; $bound);

# Instructions or system calls a message of 32 bytes with so many in flight.
def custody($k; $n; $subject; $metric):
  first($custody[] | select(.kernel == $k and .inflight == $n and .subject == $subject and .metric == $metric) | .median) // null;

# How much less one takes than serial: above 1 is better.
def over_serial($k; $n; $subject): over(custody($k; $n; "serial"; "instructions"); custody($k; $n; $subject; "instructions"));

# Of a call: what a client waits for.
def calls_over_serial($k; $n; $subject):
  over(rpc($k; "encrypt"; 1; $n; "kernel"; "instructions"); rpc($k; "encrypt"; 1; $n; $subject; "instructions"));

def custody_targets($k):
  at_least("custody value over serial, an Encrypt alone, by instructions"; calls_over_serial($k; 1; "value"); 0.98),
  at_least("custody holder over serial, the same"; calls_over_serial($k; 1; "holder"); 0.75),
  at_least("the same, 64 in flight"; calls_over_serial($k; 64; "holder"); 0.9),
  at_least("the same, messages without a call, 64 in flight"; over_serial($k; 64; "holder"); 0.9),
  at_least("the same, 256 in flight"; over_serial($k; 256; "holder"); 1);

def targets_guest($k):
  (["Linux \($k), 32-byte messages", "reached", ""] | head),
  cipher_target("engine over openssl, 64 in flight"; gain($k; 64; "engine"; "openssl"); 2),
  (gain($k; 64; "engine"; "libkcapi") as $g
   | if $g.time == null and $g.instructions == null
     then ["engine over libkcapi one-shot, 64 in flight, ≥ 8", "–", "not measured; a kernel may refuse libkcapi's gcm(aes)"] | row
     else cipher_target("engine over libkcapi one-shot, 64 in flight"; $g; 8) end),
  cipher_target("engine over userspace-coalesced, 256 in flight"; gain($k; 256; "engine"; "userspace-coalesced"); 0.5),
  cipher_target("engine over userspace-coalesced, 1024 in flight"; gain($k; 1024; "engine"; "userspace-coalesced"); 0.5),
  cipher_target("engine over the best single AF_ALG operation, alone"; gain_best($k; ["afalg-sync", "afalg-uring", "libkcapi"]); 0.9),
  (. as $all | ["status", "encrypt", "decrypt"][] | . as $op | $all
   | at_least("kekd kernel over kekd holder, \($op), 1 × 64, requests a second";
       over(rpc($k; $op; 1; 64; "kernel"; "per_second"); rpc($k; $op; 1; 64; "holder"; "per_second")); 1),
     at_least("the same by instructions, kernel's included";
       over(rpc($k; $op; 1; 64; "holder"; "instructions"); rpc($k; $op; 1; 64; "kernel"; "instructions")); 1)),
  custody_targets($k),
  "";

def host_ratio($op; $c; $s; $metric; $base):
  over(rpc("host"; $op; $c; $s; "holder"; $metric); rpc("host"; $op; $c; $s; $base; $metric));

# The least CPU a value of $subject for $op; what else the machine did can only add to it.
def scan_cpu($op; $subject):
  first($scans[] | select(.op == $op and .subject == $subject and .metric == "cpu_us") | .min) // null;

def scan_targets:
  (["json_aesgcm", "json_kms"][] | . as $op
   | at_most("`kekctl scan --verify` over the simple Go program, CPU, \($op)";
       over(scan_cpu($op; "kekctl"); scan_cpu($op; "go-simple")); 0.45),
     at_most("the same over the careful one";
       over(scan_cpu($op; "kekctl"); scan_cpu($op; "go-careful")); 1.5));

def targets_host($start):
  (["this machine, kekd `holder`, each side on one CPU", "reached", ""] | head),
  (. as $all | ["encrypt", "decrypt"][] | . as $op | $all
   | at_least("requests a second over the Go plugin's, \($op), 1 × 64"; host_ratio($op; 1; 64; "per_second"; "go"); 2),
     at_least("the same, 8 × 8"; host_ratio($op; 8; 8; "per_second"; "go"); 3),
     at_most("CPU a request over the Go plugin's, \($op), 1 × 64"; host_ratio($op; 1; 64; "cpu_s_per_100k"; "go"); 0.334),
     at_most("the same, 8 × 8"; host_ratio($op; 8; 8; "cpu_s_per_100k"; "go"); 0.334),
     at_least("requests a second over nghttpd's, \($op), 1 × 64"; host_ratio($op; 1; 64; "per_second"; "nghttpd"); 0.8),
     at_least("the same, 8 × 8"; host_ratio($op; 8; 8; "per_second"; "nghttpd"); 0.8),
     at_least("nghttpd's CPU a request over kekd's, \($op), 1 × 64"; over(rpc("host"; $op; 1; 64; "nghttpd"; "cpu_s_per_100k"); rpc("host"; $op; 1; 64; "holder"; "cpu_s_per_100k")); 0.8),
     at_most("p99 over the Go plugin's, \($op), 1 × 64"; host_ratio($op; 1; 64; "p99_us"; "go"); 0.334),
     at_most("the same, 8 × 8"; host_ratio($op; 8; 8; "p99_us"; "go"); 0.334)),
  at_most("peak RSS, MiB, both processes, any load";
    ([.[] | select(agrees({kernel: "host", level: "rpc", subject: "holder", metric: "peak_rss_kib"})) | .max] | max
     | if . == null then null else . / 1024 end); 10),
  at_most("start to first answer, ms, least";
    ([$start[] | select(.[0] == "host" and .[1] == "holder") | .[2]] | min
     | if . == null then null else . / 1000 end); 10),
  scan_targets,
  "";

# --- tables ------------------------------------------------------------------------------------

def subjects_of($want): [.[] | select(agrees($want)) | .subject] | unique;
def values_of($want; $field): [.[] | select(agrees($want)) | .[$field]] | unique;

# Subjects down, one number of the load across.
def table($want; $across; $unit):
  . as $all
  | values_of($want; $across) as $columns
  | subjects_of($want) as $subjects
  | if ($subjects | length) == 0 then empty else
      (["\($unit)"] + [$columns[] | "\($across) \(.)"] | head),
      ($subjects[] | . as $s
       | [$s] + [$columns[] | . as $c | $all
                 | first(.[] | select(agrees($want + {subject: $s, ($across): $c})))
                   // null | if . == null then "–" else "\(.median | short) (\(.min | short) … \(.max | short))" end]
       | row),
      ""
    end;

def title($k): "### \(if $k == "host" then "This machine" else "Linux \($k)" end)", "";

def cipher_tables($k):
  title($k),
  table({kernel: $k, level: "cipher", alg: "gcm", op: "encrypt", bytes: 32, metric: "per_second"}; "inflight"; "GCM encrypt, 32 bytes, messages a second"),
  table({kernel: $k, level: "cipher", alg: "gcm", op: "encrypt", bytes: 32, metric: "instructions"}; "inflight"; "the same, instructions a message"),
  table({kernel: $k, level: "cipher", alg: "gcm", op: "decrypt", bytes: 32, metric: "per_second"}; "inflight"; "GCM decrypt, 32 bytes, messages a second"),
  table({kernel: $k, level: "cipher", alg: "gcm", op: "encrypt", inflight: 64, metric: "per_second"}; "bytes"; "GCM encrypt, 64 in flight, messages a second"),
  table({kernel: $k, level: "cipher", alg: "gcm", op: "encrypt", inflight: 1, metric: "per_second"}; "bytes"; "GCM encrypt, alone, messages a second"),
  table({kernel: $k, level: "cipher", alg: "cbc", op: "encrypt", inflight: 64, metric: "per_second"}; "bytes"; "CBC encrypt, 64 in flight, messages a second"),
  table({kernel: $k, level: "cipher", alg: "cbc", op: "decrypt", inflight: 64, metric: "per_second"}; "bytes"; "CBC decrypt, 64 in flight, messages a second");

def rpc_table($k):
  . as $all
  | [.[] | select(.kernel == $k and .level == "rpc" and .metric == "per_second")] as $runs
  | if ($runs | length) == 0 then empty else
      title($k),
      (["call", "connections × streams", "server", "requests a second", "p50 µs", "p99 µs", "CPU s per 100 k", "peak RSS KiB"] | head),
      ($runs[] | . as $r
       | ($all | map(select(agrees($r | {kernel, level, api, op, connections, streams, subject})))) as $mine
       | ["\($r.api) \($r.op)", "\($r.connections) × \($r.streams)", $r.subject,
          "\($r.median | short) (\($r.min | short) … \($r.max | short))",
          ($mine | figure({metric: "p50_us"}) | short), ($mine | figure({metric: "p99_us"}) | short),
          ($mine | figure({metric: "cpu_s_per_100k"}) | short), ($mine | figure({metric: "peak_rss_kib"}) | short)]
       | row),
      ""
    end;

def rpc_instructions:
  [.[] | select(.level == "rpc" and .metric == "instructions")] as $counted
  | if ($counted | length) == 0 then empty else
      "Instructions of kekd for one call. In a guest those of its kernel are included; on this machine they are not (`tests/bench/instructions-rpc`).", "",
      (["kernel", "server", "call", "in flight", "instructions"] | head),
      ($counted[] | [.kernel, .subject, "\(.api) \(.op)", "\(.inflight)", (.median | short)] | row), ""
    end;

def bulk_table:
  [.[] | select(.level == "bulk")] as $bulk
  | if ($bulk | length) == 0 then empty else
      "## Bulk: values of 2 KiB through the Transform service", "",
      (["kernel", "server", "direction", "values a second"] | head),
      ($bulk[] | [.kernel, .subject, .op, "\(.median | short) (\(.min | short) … \(.max | short))"] | row), ""
    end;

# The same load on kekd with one server process.
def one_worker($workers; $row):
  ($row.subject | split("-")[0]) as $one
  | first($workers[] | select(agrees($row | {kernel, op, connections, streams, metric} + {subject: $one})
                              and .subject == $one)) // null;

# A gain or a loss is one only if no round of the one is within those of the other.
def workers_verdict($one; $more):
  if $one == null then "not measured" elif $more.min > $one.max then "faster"
  elif $more.max < $one.min then "slower" else "no difference beyond that of the rounds" end;

def workers_table($workers):
  [$workers[] | select(.metric == "per_second" and (.subject | contains("-")))] as $rows
  | if ($rows | length) == 0 then empty else
      "## Several server processes", "",
      "`holder-2` and `kernel-2` are kekd with `workers: 2`. Here h2load has two threads, and every process all CPUs.", "",
      (["kernel", "server", "call", "connections × streams", "requests a second", "over one process", "CPU s per 100 k, one", "two", "p99 µs, one", "two", "two processes are"] | head),
      ($rows[] | . as $r
       | one_worker($workers; $r) as $one
       | [$workers[] | select(agrees($r | {kernel, op, connections, streams}))] as $here
       | def at($s; $m): first($here[] | select(.subject == $s and .metric == $m) | .median) // null | short;
         [$r.kernel, $r.subject, $r.op, "\($r.connections) × \($r.streams)",
          "\($r.median | short) (\($r.min | short) … \($r.max | short))", (over($r.median; $one.median) | short),
          at($one.subject; "cpu_s_per_100k"), at($r.subject; "cpu_s_per_100k"),
          at($one.subject; "p99_us"), at($r.subject; "p99_us"), workers_verdict($one; $r)] | row),
      "",
      ([$rows[] | . as $r | workers_verdict(one_worker($workers; $r); $r)] as $verdicts
       | "Of \($verdicts | length) loads two processes are faster at \($verdicts | map(select(. == "faster")) | length) and slower at \($verdicts | map(select(. == "slower")) | length)."),
      ""
    end;

def start_table($start):
  if ($start | length) == 0 then empty else
    "## From execve to the first answer", "",
    (["kernel", "server", "ms, least", "median", "starts"] | head),
    ($start | group_by(.[:2])[] | (map(.[2]) | sort) as $us
     | [.[0][0], .[0][1], ($us[0] / 1000 | short), ($us[length / 2 | floor] / 1000 | short), "\(length)"] | row), ""
  end;

def scan_table:
  if ($scans | length) == 0 then empty else
    "## All values of a backup opened", "",
    "Values of 2 KiB. CPU is that of the client and of all of kekd\u0027s processes, the least of its runs; etcd\u0027s own is not in it. The Go programs have the key, or the seed from one call of the plugin, in their own process; `go-careful` uses all CPUs. They do not read snapshots or etcd.", "",
    (["what", "program", "CPU µs a value", "over `kekctl`", "values a second"] | head),
    ($scans[] | select(.metric == "cpu_us") | . as $r
     | [.op, .subject, (.min | short), (over(.min; scan_cpu(.op; "kekctl")) | short),
        (first($scans[] | select(.op == $r.op and .subject == $r.subject and .metric == "per_second") | .max) | short)] | row),
    ""
  end;

def custody_table:
  if ($custody | length) == 0 then empty else
    "## The custodies: a message of 32 bytes", "",
    "Instructions include the kernel\u0027s and the holder\u0027s; system calls are those of both processes. `process` is the engine with AES in its own process, which no custody is.", "",
    (["kernel", "in flight", "custody", "instructions", "over `serial`", "system calls"] | head),
    ($custody[] | select(.metric == "instructions")
     | [.kernel, "\(.inflight)", .subject, (.median | short), (over_serial(.kernel; .inflight; .subject) | short),
        (custody(.kernel; .inflight; .subject; "system_calls") | short)] | row),
    ""
  end;

def pictures($k): "![messages a second](cipher-\($k).svg) ![bytes a second](sizes-\($k).svg)", "";

# --- words -------------------------------------------------------------------------------------

def percent: if . == null then "–" else "\(. * 1000 | round / 10) %" end;

# How many rounds the figures of each kernel have.
def rounds_table:
  (["figures", "kernel", "rounds"] | head),
  (group_by([.kernel, .level, .metric == "instructions"])[]
   | (map(.runs) | unique | map(tostring)) as $runs
   | ["\(.[0].level)\(if .[0].metric == "instructions" then ", instructions" else "" end)", .[0].kernel,
      ($runs | join(" or "))] | row),
  "";

# Of all counts of messages that were made more than once, the one that differs most.
def counts_spread:
  [.[] | select(.level == "cipher" and .metric == "instructions" and .runs > 1) | (.max - .min) / .median]
  | if length == 0 then null else max end;

# What emulation does to each kind of work: how much faster the same ran on the machine itself.
def emulation($k):
  . as $all
  | def times($bytes): over($all | cipher("host"; "gcm"; "encrypt"; $bytes; 1; "openssl"; "per_second");
                            $all | cipher($k; "gcm"; "encrypt"; $bytes; 1; "openssl"; "per_second"));
    def rpcs: over($all | rpc("host"; "encrypt"; 1; 64; "holder"; "per_second");
                   $all | rpc($k; "encrypt"; 1; 64; "holder"; "per_second"));
    [["libcrypto sealing 32 bytes", times(32)], ["libcrypto sealing 16 KiB", times(16384)],
     ["kekd `holder` answering Encrypt at 1 × 64", rpcs]]
  | map(select(.[1] != null) | "\(.[0]) \(.[1] | short) ×")
  | if length == 0 then empty else "On the machine itself, against the guest with \($k): \(join(", "))." end;

# Messages: what the engine's run shares out, and what is left.
def shared_out($k):
  . as $all
  | def count($inflight; $subject): $all | cipher($k; "gcm"; "encrypt"; 32; $inflight; $subject; "instructions");
    [count(1; "engine"), count(64; "engine"), count(256; "engine"), count(256; "userspace-coalesced"), count(1; "afalg-sync"), count(1; "openssl")] as $n
  | if $n[0:2] | any(. == null) then empty else
      "Linux \($k), instructions for a message of 32 bytes, kernel's included: one operation each (`afalg-sync`) \($n[4] | short), `openssl` \($n[5] | short), engine alone \($n[0] | short), with 64 in flight \($n[1] | short)"
      + (if $n[2:4] | any(. == null) then "." else
          ", with 256 \($n[2] | short); the ceiling `userspace-coalesced` \($n[3] | short)." + if $n[2] <= $n[3] then "" else " What the engine has above the ceiling at 256, \($n[2] - $n[3] | short), is its share of the kernel's operation and the job that it keeps for each message, which the ceiling, a loop over arrays, has not." end end)
    end;

# Requests: what the backend is of a call.
def backends($k):
  . as $all
  | ["encrypt", "decrypt"] | map(. as $op
      | [$op, ($all | rpc($k; $op; 1; 64; "kernel"; "instructions")), ($all | rpc($k; $op; 1; 64; "holder"; "instructions"))])
  | map(select(.[1] != null and .[2] != null)
      | "\(.[0]) \(.[1] | short) over `kernel` and \(.[2] | short) over `holder`, \((.[1] - .[2]) / .[2] | "\(fabs | percent) \(if . < 0 then "less" else "more" end)")")
  | if length == 0 then empty else
      "Linux \($k), instructions for a call at 1 × 64, kernel's included: \(join("; ")). Both backends coalesce and share all of the call but the blocks themselves: for these the one pays for its share of a run of the holder and the other of an operation of the kernel." end;

def rpc_ceiling:
  . as $all
  | [["encrypt", 1, 64], ["encrypt", 8, 8], ["decrypt", 1, 64], ["decrypt", 8, 8]]
  | map(. as [$op, $c, $s]
      | ($all | host_ratio($op; $c; $s; "per_second"; "nghttpd")) | select(. != null)
      | "\($op) at \($c) × \($s) \(percent)")
  | if length == 0 then empty else
      "This machine: kekd `holder` reaches of nghttpd's requests a second: \(join(", ")). It can pass the ceiling, as nghttpd has TCP to serve over and a loop of its own." end;

def target_lines($start): . as $all | kernels[] | . as $k | $all | if $k == "host" then targets_host($start) else targets_guest($k) end;

def met_of: "\(map(select(endswith("| met |"))) | length) of \(length)";

def summary($lines):
  ($lines | map(select(endswith("| met |") or endswith("| **missed** |")))) as $judged
  | ($judged | map(select(contains("by instructions")))) as $counted
  | "Met: \($judged | met_of) targets that were measured"
    + (if ($counted | length) == 0 then "." else ", and of those judged by instructions \($counted | met_of)." end);

# Status has no cryptography in it, so what differs between backends is not theirs.
def noise($k):
  over(rpc($k; "status"; 1; 64; "kernel"; "per_second"); rpc($k; "status"; 1; 64; "holder"; "per_second"))
  | if . == null then empty else
      "Status has no cryptography in it. Where kekd answered it with \($k) at 1 × 64, its two backends differed by \(. - 1 | fabs | percent) in requests a second: smaller differences between them at the other calls say nothing." end;

# What one operation for each message reaches of libcrypto, wherever that was measured.
def one_each:
  . as $all
  | [kernels[] | . as $k
     | over($all | cipher($k; "gcm"; "encrypt"; 32; 1; "afalg-sync"; "per_second");
            $all | cipher($k; "gcm"; "encrypt"; 32; 1; "openssl"; "per_second"))
     | select(. != null) | {ratio: ., text: "\(percent) with \($k)"}]
  | if length == 0 then ""
    else (if all(.ratio < 1) then " It does not come from AES in the kernel: one" else " One" end)
      + " operation for each message of 32 bytes reaches of libcrypto's messages a second \(map(.text) | join(", "))." end;

def has_guest: kernels | any(. != "host");

"# Benchmark of kekd", "",
$about, "",
"The gain comes from coalescing: the cipher blocks of many messages go through the kernel in one operation, so its cost is shared.\(one_each) The baseline `openssl` is libcrypto's EVP interface as its users have it, at its best: context and key schedule kept, one call sequence a message.", "",
"There are two ceilings. For messages it is `userspace-coalesced`: the same trick with the key in the process; what kekd adds is that the key is not in the process. For requests it is `nghttpd`, on the same HTTP/2 library, which serves a file of the same length over TCP, as it has no Unix sockets, and does neither protobuf nor cryptography. `go` is `tests/bench/peer/plugin`, one as it is written with k8s.io/kms.", "",
"Figures are medians with least and most in brackets. All ways or servers of a table ran in turn, round after round, each side of a connection on a CPU of its own where there are two, under a real-time policy where that was allowed. Every answer's length was checked: h2load counts a gRPC error as success. Peak RSS of kekd is that of its server, with what the keeper has for itself; pages that both have count once.", "",
"## Targets", "",
([target_lines($start)] as $lines | summary($lines), "", $lines[]),
"### Ceilings", "",
(. as $all | kernels[] | select(. != "host") | . as $k | $all | (shared_out($k) | ., ""), (backends($k) | ., "")),
(rpc_ceiling | ., ""),
(if has_guest then
  "## What the guests can tell", "",
  "Unless there was KVM, a guest runs under emulation (TCG). It can tell ratios between ways that do the same kind of work in the same boot, and counts of instructions\(counts_spread | if . == null then "" else ": between rounds of one boot, those of messages differed by \(percent) at the most" end). It cannot tell times on a processor, as emulation does not slow everything alike. Where a ratio by time and one by instructions disagree, the machine was busy or emulation distorts: the instructions are the better witness for the software, and neither is a promise for hardware.", "",
  (. as $all | kernels[] | select(. != "host") | . as $k | $all | (emulation($k) | ., ""), (noise($k) | ., ""))
 else empty end),
"## Rounds", "",
rounds_table,
"## Messages", "",
(. as $all | kernels[] | . as $k | $all | cipher_tables($k), pictures($k)),
"## Requests", "",
(. as $all | kernels[] | . as $k | $all | rpc_table($k)),
rpc_instructions,
bulk_table,
custody_table,
scan_table,
workers_table($workers),
start_table($start)
