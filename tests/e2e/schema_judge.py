#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""schema_judge.py KEKD SCHEMA ENCRYPTION-CONFIG DIR: does the schema say of kekd.yaml what kekd says?

From each field of the schema come values that should be taken and values that should not, each put
into a file that is right but for it; kekd --check and the schema have to agree on every one, and of
each field at least one has to be taken and one refused. What agrees no more is printed.
"""
import copy
import json
import re
import subprocess
import sys
import warnings

import jsonschema

KEKD, SCHEMA, ENCRYPTION, DIR = sys.argv[1:]

# What a schema has no words for: kekd refuses it, the schema does not. The first is that of a duration. And
# other files than this one, which the message does not name then.
UNSAID = re.compile(r"must be between -?\d+ and \d+ ms|no such (user|group): |needs a path of its own"
                    r"|socket\(s\) for")

WRONG_TYPES = [None, True, 7, 1.5, [], ["x y"], {}, {"nosuch": 1}, " ", "root"]
STRINGS = """relative /a /a/b @abstract / // /a//b /a/ /a/../b /a/./b /.. /. /..a /.a. /a/b.. /a\u0001 /a\u007f
    0700 0666 0600 666 600 00600 66 06060 0680 660_ 0 10 -0 -0s -1s +1s 1h2m 1.5h .5s 1.s .s 1 1d 10S 1\u00b5s
    1\u03bcs 1us 1h1 --1s -+1s -0.0h journal journals Journal 127.0.0.1:0 127.0.0.1:9740 127.0.0.1:65535
    127.0.0.1:65536 127.0.0.1:00080 127.0.0.1:000080 127.0.0.01:1 127.255.255.255:1 127.0.0.256:1 127.0.0:1
    [::1]:1 [0:0:0:0:0:0:0:1]:1 [::2]:1 ::1:1 128.0.0.1:1 localhost:80 root roots a:b nobody-here""".split()


def longest(schema):
    n = schema["maxLength"]
    return ["/" + "a" * (n - 1), "/" + "a" * n, "a" * n, "a" * (n + 1)]


def sample(schema):
    """A good value of a field, whole mappings with all their members."""
    if "properties" in schema:
        return {k: sample(v) for k, v in schema["properties"].items() if k not in ("sockets", "command", "blob")}
    for word, pick in (("default", lambda v: v), ("examples", lambda v: v[0]), ("enum", lambda v: v[0]),
                       ("minimum", lambda v: v), ("items", lambda v: [sample(v)])):
        if word in schema:
            return pick(schema[word])
    return "x"


def values(schema, seen):
    """What is tried as a value; each kind of string gets all the strings once."""
    yield from WRONG_TYPES
    yield sample(schema)
    yield from schema.get("examples", []) + schema.get("enum", [])
    for word, step in (("minimum", -1), ("maximum", 1)):
        if word in schema:
            yield schema[word]
            yield schema[word] + step
    if "items" in schema:
        one, n = schema["items"], schema["maxItems"]
        many = [f"/run/{i}" if "integer" not in one["type"] else i for i in range(n + 1)]
        yield from ([], many, many[:n], many[:1], many[:1] * 2, [many[0], "x y"])
        yield from ([v] for v in values(one, seen))
    kind = json.dumps([schema["type"], schema.get("pattern"), schema.get("enum"), schema.get("maxLength")])
    if "string" in schema["type"] and kind not in seen:
        seen.add(kind)
        yield from STRINGS + (longest(schema) if "maxLength" in schema else [])


def fields(schema, path=()):
    for name, field in schema["properties"].items():
        yield path + (name,), field
        if "properties" in field:
            yield from fields(field, path + (name,))


def parent(document, path):
    for name in path[:-1]:
        document = document[name]
    return document


def base_for(base, path):
    """What excludes the field is left out, and what it goes with is there."""
    document = copy.deepcopy(base)
    if path == ("sockets",):
        del document["socket"]
    if path == ("rootKey", "blob"):
        document["rootKey"]["source"] = "trusted"
    if path == ("rootKey", "command"):
        document["rootKey"]["source"] = "command"
    return document


def cases(schema, base):
    """(path, document): for each field what it can be, without it, and with one that does not exist."""
    seen = set()
    for path, field in fields(schema):
        for value in values(field, seen):
            document = base_for(base, path)
            parent(document, path)[path[-1]] = value
            yield path, document
        document = base_for(base, path)
        parent(document, path).pop(path[-1], None)
        yield path, document
        document = base_for(base, path)
        parent(document, path)[path[-1] + "s1"] = sample(field)
        yield path, document
    for change in ({"socket": "/a", "sockets": ["/b"]}, {"allowedPeers": {"uids": [], "gids": []}},
                   {"allowedPeers": {"uids": [], "gids": [0]}}, {"allowedPeers": {"uids": [0]}},
                   {"rootKey": {"source": "unseal", "command": ["/bin/true"]}},
                   {"rootKey": {"source": "command"}},
                   {"rootKey": {"source": "trusted"}},
                   {"rootKey": {"source": "trusted", "blob": "/b"}},
                   {"rootKey": {"source": "trusted", "blob": "/b"}, "custody": "holder"},
                   {"rootKey": {"source": "unseal", "blob": "/b"}},
                   {"rootKey": {"source": "command", "command": ["/bin/true", "", "x y"]}}):
        yield tuple(change)[:1], {**base, **change}


def kekd_says(document):
    with open(f"{DIR}/judged.json", "w", encoding="utf-8") as f:
        json.dump(document, f, ensure_ascii=False)
    done = subprocess.run([KEKD, "--check", "--config", f.name], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"kekd --check: {done.returncode}: {done.stderr}")
    text = done.stdout + done.stderr
    return done.returncode == 0, UNSAID.search(text) or f.name not in text, text


def main():
    warnings.simplefilter("ignore")
    with open(SCHEMA, encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    base = {**sample(schema), "encryptionConfig": ENCRYPTION, "server": {"user": 61234}}
    ok, _, text = kekd_says(base)
    if not ok:
        raise SystemExit(f"the file to begin with: {text}")
    taken, refused, bad, n = set(), set(), 0, 0
    for path, document in cases(schema, base):
        ok, unsaid, text = kekd_says(document)
        valid = validator.is_valid(document)
        ok = ok or bool(valid and unsaid)
        (taken if ok else refused).add(path)
        n += 1
        # A reader of YAML 1.2 sees words where kekd's sees booleans.
        word = path == ("rotation", "auto") and document["rotation"].get("auto") in ("on", "off")
        if valid != ok and not word:
            bad += 1
            print(f"{'.'.join(path)}: kekd says {ok}, the schema {valid}: {json.dumps(document)}: {text}")
    for path, _ in fields(schema):
        if path not in taken or path not in refused:
            bad += 1
            print(f"{'.'.join(path)}: nothing of it was {'refused' if path in taken else 'taken'}")
    print(f"# {n} files, {len(taken)} fields")
    sys.exit(bad > 0 or not taken)


main()
