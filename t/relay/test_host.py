#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_host.py SITE SIGNIN DOMAIN: sessions that speak HTTP on hosts of their own, below DOMAIN: how a browser gets
there, who does not, and what such a host serves. Prints TAP."""
import json
import os
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import gateway  # noqa: E402

site, signin, domain = sys.argv[1:4]
port = site.rsplit(":", 1)[1]
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
    return good


class Guest(gateway.Visitor):
    """The same browser at the host of a session, where nobody signs in."""

    def __init__(self, host):
        super().__init__(site)
        self.site = f"{host}:{port}"


def split(url):
    """Host and path with query of a URL."""
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.path + (f"?{parts.query}" if parts.query else "")


def sent(visitor, path):
    """Where the portal sends a browser that wants this path: host, path with the ticket."""
    answer = visitor.request("GET", path, {"Sec-Fetch-Dest": "document"})
    return answer, *split(answer.headers["Location"] or "")


def entered(visitor):
    """The browser at its session's host, with the cookie."""
    _, host, path = sent(visitor, ECHO)
    guest = Guest(host)
    guest.request("GET", path)
    return guest


def begin(name):
    visitor = gateway.Visitor(site, name, passwords[name])
    visitor.request("GET", BASE)
    end, state = time.monotonic() + 90, visitor.wait("web")
    while state.get("state") == "waiting" and time.monotonic() < end:
        time.sleep(0.2)
        state = visitor.wait("web")
    if not ok(state.get("state") == "ready", f"{name} has a session", state):
        admin = gateway.Visitor(site, "admin", passwords["admin"])
        print("# " + json.dumps(admin.status(), indent=1).replace("\n", "\n# "))
    return visitor


alice = begin("alice")
answer, host, ticket = sent(alice, ECHO + "?a=1&b=%2F")
ok(answer.status == 303 and host.endswith("." + domain) and f":{port}/" in answer.headers["Location"],
   "the portal sends its browser to the session's own host", f"{answer.status} {answer.headers['Location']}")
ok(alice.wait("web")["instance"] not in host and "Cookie" not in str(answer.headers.items()),
   "whose name says nothing of the session")
guest = Guest(host)
answer = guest.request("GET", ticket)
cookie = answer.headers["Set-Cookie"] or ""
ok(answer.status == 303 and answer.headers["Location"] == ECHO + "?a=1&b=%2F", "the ticket leads to what was asked for",
   f"{answer.status} {answer.headers['Location']}")
ok(cookie.startswith("persona_pass=") and "HttpOnly" in cookie and "Domain" not in cookie,
   "and gives a cookie of this host alone, not for scripts", cookie)
answer = guest.request("GET", answer.headers["Location"], {"Accept": "text/plain"})
variables = dict(line.split("=", 1) for line in answer.text().splitlines() if "=" in line)
ok(answer.status == 200 and variables.get("QUERY_STRING") == "a=1&b=%2F", "with which the instance answers",
   answer.text())
ok("persona_" not in answer.text() and "HTTP_AUTHORIZATION" not in variables, "and sees nothing of the gateway's",
   answer.text())
answer = guest.request("POST", ECHO, {"Accept": "text/plain"}, b"x" * 1000)
ok(answer.status == 200 and "x" * 1000 in answer.text(), "it may be written to", answer.status)

# ---- what such a host serves ----
admin = gateway.Visitor(site, "admin", passwords["admin"])
admin.site = guest.site
ok(admin.request("GET", "/persona-status").status == 404, "nothing else of the server, not even for who signs in")
answer = guest.request("GET", "/apps/")
ok(answer.status == 303 and answer.headers["Location"] == f"http://{site}/apps/", "for the portal it sends one there",
   f"{answer.status} {answer.headers['Location']}")
for control in ("state", "wait", "end", "new", "stream"):
    ok(guest.request("POST" if control == "end" else "GET", f"{BASE}.persona/{control}").status == 404,
       f"a page there cannot reach the portal's \"{control}\"")
ok(guest.request("GET", "/apps/socket/", {"Accept": "text/plain"}).status != 200, "nor another application")

# ---- who does not get in ----
for name, words in (("without a cookie", {"Cookie": None}),
                    ("with the portal's cookie", {"Cookie": "; ".join(f"{name}={value}" for (_, name), value in
                                                                      alice.cookies.items())}),
                    ("with a name and a password", {"Cookie": None, "Authorization": alice.authorization})):
    answer = guest.request("GET", ECHO, words)
    ok(answer.status == 403 and "WWW-Authenticate" not in answer.headers,
       f"nobody {name}, and nobody is asked to sign in", answer.status)
ok(Guest(host).request("GET", ticket[:-1] + ("0" if ticket[-1] != "0" else "1")).status == 403,
   "nor with a ticket that was changed")
ok(Guest("0" * 32 + "." + domain).request("GET", ticket).status == 403, "nor at another host than its own")
bob = begin("bob")
theirs = entered(bob)
ok(theirs.site != guest.site and theirs.request("GET", ECHO, {"Accept": "text/plain"}).status == 200,
   "another user has another host")
theirs.site = guest.site
ok(theirs.request("GET", ECHO).status == 403, "and no business at the first")

# ---- the portal's host serves no page of an instance ----
answer = alice.request("POST", ECHO, {"Accept": "text/plain"}, b"x")
ok(answer.status == 421, "a request that is no visit is not passed on by the portal's host", answer.status)

# ---- WebSockets ----
begun = gateway.Visitor(site, "alice", passwords["alice"])
begun.request("GET", "/apps/socket/")
ok(begun.wait("socket").get("state") == "ready", "a session whose stream is a WebSocket")
_, host, path = sent(begun, "/apps/socket/")
caller = Guest(host)
caller.request("GET", path)
socket = gateway.WebSocket(caller, "/apps/socket/live")
socket.socket.sendall(b"there\n")
ok(socket.socket.recv(4096) != b"", "is opened at its own host")
socket.socket.close()
refused = ""
try:
    gateway.WebSocket(caller, "/apps/socket/live", origin=f"http://{guest.site}", extra={"Sec-Fetch-Site": "same-site"})
except gateway.Refused as refusal:
    refused = str(refusal)
ok(" 403" in refused, "and not by a page of another session's host", refused)

# ---- the end ----
ok(alice.end("web").status == 200, "the portal ends a session")
answer = guest.request("GET", ECHO, {"Sec-Fetch-Dest": "document"})
ok(answer.status == 303 and answer.headers["Location"] == f"http://{site}{BASE}", "its host then leads to the portal",
   f"{answer.status} {answer.headers['Location']}")
# A process remembers for 3 s where a session was, unless a page is asked for, and there are several processes.
end, statuses = time.monotonic() + 15, [200]
while 200 in statuses and time.monotonic() < end:
    time.sleep(0.5)
    statuses = [guest.request("GET", ECHO, {"Accept": "application/json"}).status for _ in range(10)]
ok(all(status in (404, 410, 503) for status in statuses), "and programs are told", statuses)
print(f"1..{count}")
sys.exit(failed != 0)
