#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""claim.py SITE PASSWORD ADMIN-PASSWORD COUNT: claims, one after the other, each of a session of its own."""
import http.client
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import gateway  # noqa: E402

APP = "web"


def ask(visitor, connection):
    path = f"{visitor.base}{APP}/.persona/wait"
    began = time.perf_counter()
    connection.request("GET", path, headers=visitor.headers(path, {"Accept": "application/json"}))
    raw = connection.getresponse()
    body = raw.read()
    took = (time.perf_counter() - began) * 1000
    visitor.keep_cookies(raw, path)
    return took, gateway.Response(raw, body).json()


def settled(admin):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        pool = next(pool for pool in admin.status()["personas"] if pool["id"] == APP)
        if pool["ready"] >= pool["target"] and not pool["creating"]:
            return
        time.sleep(0.3)
    sys.exit("Bail out! the pool does not get full")


def line(what, times):
    times = sorted(times)
    print(f"# {what}: p50 {statistics.median(times):.1f} ms, p95 {times[int(len(times) * 0.95) - 1]:.1f} ms, "
          f"max {times[-1]:.1f} ms ({len(times)})")


def main():
    site, password, admin_password, count = sys.argv[1:4] + [int(sys.argv[4])]
    admin = gateway.Visitor(site, "admin", admin_password)
    claims, found = [], []
    for _ in range(count):
        settled(admin)
        visitor = gateway.Visitor(site, "alice", password)
        connection = http.client.HTTPConnection(visitor.address, visitor.port, timeout=15)
        took, answer = ask(visitor, connection)
        if answer.get("state") == "ready":
            claims.append(took)
            found.append(ask(visitor, connection)[0])
        else:
            print(f"# {answer}")
        connection.close()
        visitor.end(APP)
    print(f"{'ok' if len(claims) == count else 'not ok'} 1 - {len(claims)} of {count} claims were served at once")
    if claims:
        line("claim, request to answer", claims)
        line("the same request of a session that exists", found)
    print("1..1")
    return len(claims) != count


sys.exit(main())
