#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_relay.py SITE SIGNIN TLS-SITE: what an instance that speaks HTTP gets to see of a request, what the browser gets
to see of its answer, who gets there at all, and how sessions end. Prints TAP."""
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import gateway  # noqa: E402

site, signin, secure = sys.argv[1:4]
passwords = dict(line.split() for line in open(signin))
BASE = "/apps/web/"
ECHO = BASE + "cgi-bin/echo"
count = failed = 0


def ok(good, name, more=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good and more:
        print("# " + str(more)[:2000].replace("\n", "\n# "), flush=True)


def person(name, **more):
    return gateway.Visitor(site, name, passwords[name], **more)


def echo(visitor, method="GET", query="", headers=None, body=None, path=ECHO):
    """The request as the instance got it: status, variables, body."""
    answer = visitor.request(method, path + (f"?{query}" if query else ""), headers, body)
    variables, _, rest = answer.text().partition("---\n")
    return answer, dict(line.split("=", 1) for line in variables.splitlines() if "=" in line), rest


def begin(visitor, app):
    """A session as a browser begins one: first a cookie, then the claim."""
    visitor.request("GET", f"/apps/{app}/")
    return visitor.wait(app)


def instance_of(visitor):
    return visitor.state("web").get("instance")


alice = person("alice")
answer = alice.request("GET", BASE)
ok(answer.status == 303 and "persona_session=" in (answer.headers["Set-Cookie"] or ""),
   "a browser without a cookie is given one and sent back", answer.status)
ok("HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=" in answer.headers["Set-Cookie"]
   and f"Path={BASE}" in answer.headers["Set-Cookie"], "for this application, not for scripts and not for other sites",
   answer.headers["Set-Cookie"])
answer = alice.get(answer.headers["Location"])
ok(answer.status in (200, 404), "and with it reaches the instance", answer.status)
ok(alice.wait("web").get("state") == "ready", "the session is ready")
first = instance_of(alice)
ok(bool(first), "on an instance")

# ---- what the instance sees ----
answer, seen, _ = echo(alice, query="a=1&b=%2F", headers={"X-Persona-User": "root", "X-Forwarded-User": "root",
                                                          "Remote-User": "root", "Accept": "text/plain"})
ok(answer.status == 200 and seen.get("QUERY_STRING") == "a=1&b=%2F", "the query arrives as it was sent", answer.text())
ok(not [name for name in seen if "AUTHORIZATION" in name], "no password", seen)
ok("persona_session" not in str(seen), "no cookie of the gateway")
ok("root" not in [seen.get("HTTP_X_PERSONA_USER"), seen.get("HTTP_X_FORWARDED_USER"), seen.get("HTTP_REMOTE_USER")],
   "nobody's claim to be somebody else", seen)
ok(seen.get("HTTP_X_FORWARDED_PREFIX") == "/apps/web", "where it is mounted", seen)
answer, seen, _ = echo(alice, query="persona-cookie", headers={"Accept": "text/plain"})
ok(seen.get("QUERY_STRING", "") == "", "nor the gateway's own mark in the query", seen)
answer, seen, body = echo(alice, "POST", body=b"x" * 300000, headers={"Accept": "text/plain"})
ok(answer.status == 200 and len(body) == 300000 and seen.get("CONTENT_LENGTH") == "300000", "a body arrives whole",
   f"{answer.status} {len(body)}")
answer = alice.request("HEAD", BASE + "cgi-bin/env", {"Accept": "text/plain"})
ok(answer.body == b"", "HEAD has no body")

# ---- what the browser sees ----
answer, seen, _ = echo(alice, query="cookie", headers={"Accept": "text/plain"})
cookie = answer.headers["Set-Cookie"] or ""
ok(cookie.startswith("persona_i.taste=sweet") and f"Path={BASE}" in cookie and "Domain" not in cookie,
   "a cookie of the instance stays below its application, and in a name space of its own", cookie)
ok("Alt-Svc" not in answer.headers, "it cannot move the whole site elsewhere")
answer, seen, _ = echo(alice, headers={"Accept": "text/plain"})
ok(seen.get("HTTP_COOKIE") == "taste=sweet", "it gets its cookie back under its own name", seen.get("HTTP_COOKIE"))
elsewhere = "https://elsewhere.example/x"
for there, here in (("/cgi-bin/env", BASE + "cgi-bin/env"), (elsewhere, elsewhere)):
    answer, _, _ = echo(alice, query="go=" + there, headers={"Accept": "text/plain"})
    ok(answer.status == 302 and (answer.headers["Location"] or "").replace(f"http://{site}", "") == here,
       f"its redirect to {there} leads to {here}", f"{answer.status} {answer.headers['Location']}")
answer = alice.request("GET", BASE + "cgi-bin/../../../persona-status", {"Accept": "text/plain"})
ok(answer.status in (400, 401, 403, 404), "a path that climbs meets the rules of where it leads", answer.status)
answer = alice.request("GET", BASE + "nothing-here", {"Accept": "text/plain"})
ok(answer.status == 404, "its own 404 arrives", answer.status)

# ---- who gets there ----
bob = person("bob")
bob.cookies = dict(alice.cookies)
answer = bob.request("GET", ECHO, {"Accept": "text/plain"})
ok(answer.status == 403, "another user with the same cookie does not", answer.status)
ok(instance_of(bob) != first, "and is not told of it")
nobody = gateway.Visitor(site)
nobody.cookies = dict(alice.cookies)
ok(nobody.request("GET", ECHO).status == 401, "nor does a stolen cookie without a password")
deaf = person("carol")
deaf.keep_cookies = lambda raw, path: None
answer = deaf.get(BASE)
ok(answer.status in (200, 404, 503), "a browser that keeps no cookies gets its desktop too, and goes in no circle",
   f"{answer.status} {answer.headers.get('Location')}")
end = time.monotonic() + 60
while time.monotonic() < end and deaf.request("GET", BASE + "cgi-bin/env", {"Accept": "text/plain"}).status != 200:
    time.sleep(0.5)
ok(deaf.request("GET", BASE + "cgi-bin/env", {"Accept": "text/plain"}).status == 200, "always the same one")
ok(instance_of(person("carol")) not in (first, None), "which is nobody else's")

# ---- WebSockets ----
state = begin(alice, "socket")
ok(state.get("state") == "ready", "a session whose stream is a WebSocket", state)


def line_of(socket):
    while b"\n" not in socket.rest:
        data = socket.socket.recv(4096)
        if not data:
            break
        socket.rest += data
    line, _, socket.rest = socket.rest.partition(b"\n")
    return line.decode()


socket = gateway.WebSocket(alice, "/apps/socket/live?a=1")
seen = line_of(socket)
ok(seen.startswith("GET /live?a=1 "), "it is opened at the instance's own place", seen)
ok(f"http://{site}" not in seen and "|Origin: http://" in seen, "with the instance's own origin", seen)
ok("persona_session" not in seen and "uthorization" not in seen, "without the gateway's cookie or a password", seen)
socket.socket.sendall(b"there\n")
ok(line_of(socket) == "there", "and what is sent comes back")
socket.socket.close()
try:
    gateway.WebSocket(alice, "/apps/socket/live", origin="http://elsewhere.example")
    refused = ""
except gateway.Refused as refusal:
    refused = str(refusal)
ok(" 403" in refused, "a page of another site opens none", refused)
bob.cookies = dict(alice.cookies)
try:
    gateway.WebSocket(bob, "/apps/socket/live")
    refused = ""
except gateway.Refused as refusal:
    refused = str(refusal)
ok(" 403" in refused, "nor another user with the same cookie", refused)

# ---- TLS ----
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
request = urllib.request.Request(f"https://{secure}{BASE}", headers={
    "Authorization": person("bob").authorization, "Accept": "text/html", "Sec-Fetch-Dest": "document"})
try:
    answer = opener.open(request, timeout=15)
except urllib.error.HTTPError as error:
    answer = error
ok("Secure" in (answer.headers["Set-Cookie"] or ""), "with TLS the gateway's cookie is for TLS alone",
   answer.headers["Set-Cookie"])

# ---- sessions that end ----
for app, limit, reason in (("brief", 8, "max"), ("idle", 6, "idle")):
    began, state = time.monotonic(), begin(alice, app)
    ok(state.get("state") == "ready", f"a session of {app}", state)
    while time.monotonic() - began < limit + 30 and alice.state(app).get("state") == "ready":
        time.sleep(0.5)
    took, state = time.monotonic() - began, alice.state(app)
    ok(state.get("state") == "ended" and limit - 1 <= took <= limit + 15, f"ends after {limit} s",
       f"{took:.1f} s, {state}")
    print(f"# {app}: {took:.1f} s, {state}")
    answer = alice.request("GET", f"/apps/{app}/", {"Sec-Fetch-Dest": "document"})
    ok(answer.status == 410 and "has ended" in answer.text() and "Start again" in answer.text(),
       "and its user is told, with a way to begin again", f"{answer.status} {answer.text()[-600:]}")

# ---- many at once ----
statuses = []


def ask_often():
    for _ in range(25):
        statuses.append(alice.request("GET", BASE + "cgi-bin/env", {"Accept": "text/plain"}).status)


threads = [threading.Thread(target=ask_often) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
ok(statuses == [200] * 200, "200 requests at once are 200 answers", sorted(set(statuses)))
ok(instance_of(alice) == first, "of the same instance")

# ---- the end of the instance ----
subprocess.run(["virsh", "-q", "-c", "lxc:///system", "destroy", f"persona-{first}"], check=True)
answer = alice.request("GET", BASE + "cgi-bin/env", {"Accept": "text/html", "Sec-Fetch-Dest": "document"})
ok(answer.status in (303, 410, 502, 503), "a dead instance is said to be dead", answer.status)
end, answer = time.monotonic() + 60, None
while time.monotonic() < end:
    alice.get(BASE + ".persona/new")
    if alice.wait("web").get("state") == "ready" and instance_of(alice) not in (first, None):
        break
    time.sleep(0.5)
ok(instance_of(alice) not in (first, None), "and the person gets another", alice.state("web"))
answer, seen, _ = echo(alice, headers={"Accept": "text/plain"})
ok(answer.status == 200, "which answers", answer.status)
ok(alice.end("web").status == 200, "a session can be ended")
states = [alice.state("web").get("state") for _ in range(20)]
ok("ready" not in states, "and is over at once, whichever process is asked", states)

# ---- the history ----


def history(*arguments):
    """{kind: [row...]}, oldest first, as personactl tells it."""
    rows, kinds = json.loads(subprocess.check_output(
        [os.environ["PERSONA_PREFIX"] + "/bin/personactl", "history", "--json", "--socket",
         os.path.dirname(signin) + "/run/persona.sock.control", *arguments], timeout=60)), {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)
    return kinds


end, told = time.monotonic() + 60, {}
while time.monotonic() < end and not ("signin" in told and len(told.get("end", [])) > 1):
    alice.get("/apps/")
    time.sleep(0.5)
    told = history("--user", "alice")
ok(len(told.get("signin", [])) == 1, "the history tells that she came to the portal", told.get("signin"))
claims = [row for row in told.get("claim", []) if row.get("persona") == "web"]
ok(len(claims) >= 2 and claims[0]["instance"] == first and all(
    row["app"] == "web" and row["start"] in ("warm", "cold") and row["ticket"] >= 0 and 0 <= row["wait_ms"] < 120000
    for row in claims), "which desktops she got, from which place in line, after which wait", claims)
ok(all(row.get("reason") for row in told.get("end", [])) and first in [row["instance"] for row in told["end"]],
   "and why each was taken from her", told.get("end"))
print(f"1..{count}")
sys.exit(failed != 0)
