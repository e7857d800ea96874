# SPDX-License-Identifier: Apache-2.0
#
# results.json to Markdown. $about: lines on machine and versions; $start: rows [kernel, subject, µs]
# of the time to the first answer.

def kernels: [.[].kernel] | unique | sort_by(if . == "host" then "0" else . end);

# The median of the one row that has all of $want, or null.
def figure($want): first(.[] | select(contains($want)) | .median) // null;

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
  elif . >= 10000 then "\(. / 1000 | round) k"
  elif . >= 1000 then "\(. / 100 | round / 10) k"
  elif . >= 100 then "\(round)"
  elif . >= 10 then "\(. * 10 | round / 10)"
  elif . >= 2 then "\(. * 100 | round / 100)"
  else "\(. * 1000 | round / 1000)" end;

def row: "| " + join(" | ") + " |";
def head: row, (map("---") | row);

# --- targets -----------------------------------------------------------------------------------

def judged($text; $value; $met):
  [$text, ($value | short), if $value == null then "not measured" elif $met then "met" else "**missed**" end] | row;
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

def targets_guest($k):
  (["Linux \($k), 32-byte messages", "reached", ""] | head),
  cipher_target("engine over openssl, 64 in flight"; gain($k; 64; "engine"; "openssl"); 2),
  (gain($k; 64; "engine"; "libkcapi") as $g
   | if $g.time == null and $g.instructions == null
     then ["engine over libkcapi one-shot, 64 in flight, ≥ 8", "–", "this kernel refuses libkcapi's gcm(aes)"] | row
     else cipher_target("engine over libkcapi one-shot, 64 in flight"; $g; 8) end),
  cipher_target("engine over userspace-coalesced, 256 in flight"; gain($k; 256; "engine"; "userspace-coalesced"); 0.5),
  cipher_target("engine over userspace-coalesced, 1024 in flight"; gain($k; 1024; "engine"; "userspace-coalesced"); 0.5),
  cipher_target("engine over the best single AF_ALG operation, alone"; gain_best($k; ["afalg-sync", "afalg-uring", "libkcapi"]); 0.9),
  (. as $all | ["status", "encrypt", "decrypt"][] | . as $op | $all
   | at_least("kekd kernel over kekd openssl, \($op), 1 × 64, requests a second";
       over(rpc($k; $op; 1; 64; "kernel"; "per_second"); rpc($k; $op; 1; 64; "openssl"; "per_second")); 1),
     at_least("the same by instructions, kernel's included";
       over(rpc($k; $op; 1; 64; "openssl"; "instructions"); rpc($k; $op; 1; 64; "kernel"; "instructions")); 1)),
  "";

def host_ratio($op; $c; $s; $metric; $base):
  over(rpc("host"; $op; $c; $s; "openssl"; $metric); rpc("host"; $op; $c; $s; $base; $metric));

def targets_host($start):
  (["this machine, kekd openssl", "reached", ""] | head),
  (. as $all | ["encrypt", "decrypt"][] | . as $op | $all
   | at_least("requests a second over the Go plugin's, \($op), 1 × 64"; host_ratio($op; 1; 64; "per_second"; "go"); 2),
     at_least("the same, 8 × 8"; host_ratio($op; 8; 8; "per_second"; "go"); 3),
     at_most("CPU a request over the Go plugin's, \($op), 1 × 64"; host_ratio($op; 1; 64; "cpu_s_per_100k"; "go"); 0.334),
     at_most("the same, 8 × 8"; host_ratio($op; 8; 8; "cpu_s_per_100k"; "go"); 0.334),
     at_least("requests a second over nghttpd's, \($op), 1 × 64"; host_ratio($op; 1; 64; "per_second"; "nghttpd"); 0.8),
     at_least("nghttpd's CPU a request over kekd's, \($op), 1 × 64"; over(rpc("host"; $op; 1; 64; "nghttpd"; "cpu_s_per_100k"); rpc("host"; $op; 1; 64; "openssl"; "cpu_s_per_100k")); 0.8),
     at_most("p99 over the Go plugin's, \($op), 1 × 64"; host_ratio($op; 1; 64; "p99_us"; "go"); 0.334),
     at_most("the same, 8 × 8"; host_ratio($op; 8; 8; "p99_us"; "go"); 0.334)),
  at_most("peak RSS, MiB, both processes, any load";
    ([.[] | select(contains({kernel: "host", level: "rpc", subject: "openssl", metric: "peak_rss_kib"})) | .max] | max
     | if . == null then null else . / 1024 end); 10),
  at_most("start to first answer, ms, median";
    ([$start[] | select(.[0] == "host" and .[1] == "openssl") | .[2]] | sort
     | if length == 0 then null else .[length / 2 | floor] / 1000 end); 50),
  "";

# --- tables ------------------------------------------------------------------------------------

def subjects_of($want): [.[] | select(contains($want)) | .subject] | unique;
def values_of($want; $field): [.[] | select(contains($want)) | .[$field]] | unique;

# Subjects down, one number of the load across.
def table($want; $across; $unit):
  . as $all
  | values_of($want; $across) as $columns
  | subjects_of($want) as $subjects
  | if ($subjects | length) == 0 then empty else
      (["\($unit)"] + [$columns[] | "\($across) \(.)"] | head),
      ($subjects[] | . as $s
       | [$s] + [$columns[] | . as $c | $all
                 | first(.[] | select(contains($want + {subject: $s, ($across): $c})))
                   // null | if . == null then "–" else "\(.median | short) (\(.min | short) … \(.max | short))" end]
       | row),
      ""
    end;

def cipher_tables($k):
  "### Linux \($k)", "",
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
      "### \(if $k == "host" then "This machine" else "Linux \($k)" end)", "",
      (["call", "connections × streams", "server", "requests a second", "p50 µs", "p99 µs", "CPU s per 100 k", "peak RSS KiB"] | head),
      ($runs[] | . as $r
       | ($all | map(select(contains($r | {kernel, level, api, op, connections, streams, subject})))) as $mine
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

def start_table($start):
  if ($start | length) == 0 then empty else
    "## From execve to the first answer", "",
    (["kernel", "server", "ms, median of its runs"] | head),
    ($start | group_by(.[:2])[] | (map(.[2]) | sort) as $us
     | [.[0][0], .[0][1], ($us[length / 2 | floor] / 1000 | short)] | row), ""
  end;

def pictures($k): "![messages a second](cipher-\($k).svg) ![bytes a second](sizes-\($k).svg)", "";

# --- words -------------------------------------------------------------------------------------

"# Benchmark of kekd", "",
$about, "",
"The gain comes from coalescing: the cipher blocks of many messages go through the kernel in one operation, so its cost is shared. It does not come from AES in the kernel, which is no faster than anywhere else. The same trick with a key in the process is faster still (`userspace-coalesced`), and it is the ceiling; what kekd adds is that the key is not in the process. The baseline `openssl` is libcrypto's EVP interface as its users have it, at its best: context and key schedule kept, one call sequence a message.", "",
"What a guest under emulation (TCG) can tell: ratios between ways that do the same kind of work in the same boot, and instruction counts, which repeat within a percent. What it cannot: times on a processor. System calls and page faults are cheaper there relative to arithmetic than on metal, and AES and carry-less multiplication are emulated instruction by instruction, so large messages look slower than they are. Where a figure by time and one by instructions disagree, the machine was busy or emulation distorts; the instructions are the better witness for the software, and neither is a promise for hardware.", "",
"Figures are medians with least and most in brackets. All servers of a table ran in turn, round after round, each side on a CPU of its own where there are two. Every answer's length was checked: h2load counts a gRPC error as success. `nghttpd` serves a file of the same length over TCP, as it has no Unix sockets, and does neither protobuf nor cryptography. `go` is `tests/bench/peer`.", "",
"Peak RSS of kekd is that of its server, with what the keeper has for itself; pages that both have count once.", "",
"## Targets", "",
(. as $all | kernels[] | . as $k | $all | if $k == "host" then targets_host($start) else targets_guest($k) end),
"## Messages", "",
(. as $all | kernels[] | . as $k | $all | cipher_tables($k), pictures($k)),
"## Requests", "",
(. as $all | kernels[] | . as $k | $all | rpc_table($k)),
rpc_instructions,
bulk_table,
start_table($start)
