#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""call.py ADDRESS:PORT KEY INSTANCE OP SESSION [HOME-URL USER PASSWORD] [age=SECONDS] [size=BYTES] [key=OTHER]:
calls the assign hook as the manager does, or with one thing wrong; prints the status and the seconds it took."""
import hashlib
import hmac
import http.client
import json
import sys
import time

words = [word for word in sys.argv[1:] if "=" not in word]
wrong = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
peer, key, instance, op, session = words[:5]
order = {"version": 1, "op": op, "instance": instance, "session": session, "user": "alice", "roles": [], "app": "a",
         "issued": int(time.time()) - int(wrong.get("age", 0)), "x-padding": "x" * int(wrong.get("size", 0))}
if words[5:]:
    order["home"] = dict(zip(("url", "username", "password"), words[5:]))
body = json.dumps(order).encode()
signature = hmac.new(wrong.get("key", key).encode(), body, hashlib.sha256).hexdigest()
began = time.monotonic()
server = http.client.HTTPConnection(peer, timeout=60)
server.request("POST", "/assign", body, {"X-Persona-Signature": "sha256=" + signature})
answer = server.getresponse()
text = answer.read().decode()
print(answer.status, "%.1f" % (time.monotonic() - began))
print(text, file=sys.stderr)
