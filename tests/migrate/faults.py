#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An API server's faults: what stands in front of a real one and answers some requests itself.

    faults.py DIR API-SERVER-URL RULES LOG

DIR has server.crt and server.key of the real one; RULES is a file that is read for each request: a rule a
line, "METHOD REGEX STATUS REASON TIMES MESSAGE", of which the first counts that matches a request's path, TIMES
(0: always) for each path. STATUS 0 hangs up; with REASON - the message is the answer as it is. Everything else is
handed on. LOG gets "METHOD PATH STATUS" a line. The port stands on the first line of standard output.
"""
import collections
import http.client
import http.server
import json
import re
import ssl
import sys
import threading

folder, upstream, rules, log = sys.argv[1:]
host = upstream.removeprefix("https://")
answered = collections.Counter()
lock = threading.Lock()
local = threading.local()
out = open(log, "a", buffering=1)


def rule_for(method, path):
    for line in filter(None, open(rules).read().splitlines()):
        verb, regex, status, reason, times, message = line.split(" ", 5)
        if verb != method or not re.search(regex, path):
            continue
        with lock:
            answered[line, path] += 1
            if int(times) == 0 or answered[line, path] <= int(times):
                return int(status), reason, message
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def log_message(self, *_):
        pass

    def upstream(self, body):
        if not hasattr(local, "connection"):
            trust = ssl._create_unverified_context()
            local.connection = http.client.HTTPSConnection(host, context=trust)
        headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Accept-Encoding")}
        local.connection.request(self.command, self.path, body, headers)
        answer = local.connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        fault = rule_for(self.command, self.path)
        if fault is None:
            status, headers, data = self.upstream(body)
            kept = {k: v for k, v in headers.items() if k in ("Content-Type", "Retry-After")}
        else:
            status, reason, message = fault
            kept = {"Content-Type": "application/json"}
            data = message.encode() if reason == "-" else json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                               "reason": reason, "message": message}).encode()
        out.write(f"{self.command} {self.path} {status}\n")
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in kept.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PATCH = do_POST = handle_any


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/server.crt", folder + "/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
