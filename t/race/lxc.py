#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""64 clients want the same ready container, again and again: real personads, real libvirt. Prints TAP.

   lxc.py PERSONAD IMAGES MEMCACHED ROUNDS SECONDS     in t/lib/sandbox, as t/stage/race starts it

Two gateways' managers share libvirt and memcached. In each round all clients, half of them of each gateway, ask for one
container that nobody had yet, before any of them reads its answer. Sessions stay, so each round has a new container;
ROUNDS of them, or as many as can be had in SECONDS, but never fewer than LEAST.
"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "manager"))
from manager_site import Gateway, Tap, session, until  # noqa: E402

personad, images, memcached = sys.argv[1:4]
rounds, seconds = int(sys.argv[4]), float(sys.argv[5])
base = os.environ["TMPDIR"] + "/lxc"
CLIENTS, LEAST, PATIENCE = 64, 10, 120
tap = Tap()

os.makedirs(base + "/personas")
with open(base + "/personas/probe.json", "w", encoding="utf-8") as f:
    json.dump({
        "persona_id": "probe", "app_id": "probe", "application_source": "probe",
        "resource_profile": {"cpu": 1, "memory": "32MiB"},
        "execution_environment": {
            "compute": "lxc", "os_image": "probe", "root": "overlay", "libraries": [],
            "network": {"name": "race", "isolated": True},
            "stream": {"protocol": "http", "port": 6080, "path": "/"},
            "ready": {"path": "/cgi-bin/env", "timeout": "60s"}},
        "predicted_usage_pattern": {"timezone": "UTC", "hourly": ["low"] * 24},
        "user_role_affinity": [], "auto_scale_rules": [], "pool": {"min": min(rounds, 12), "max": 500}}, f)
settings = {
    "directory": base + "/personas", "memcached": memcached, "ns": "0123456789ab", "keys": ["5e" * 32],
    "schedule": 1000000, "timeout": 5000000, "log_level": 5, "web_uid": os.getuid(), "forecast": "off",
    "computes": [{"name": "lxc", "provider": "libvirt", "address": "lxc:///system",
                  "options": {"images": images, "boots": "6"}}]}
gateways = [Gateway(name, personad, base, settings) for name in ("one", "two")]
for gateway in gateways:
    gateway.start()
workers = [gateways[n % 2].worker(30) for n in range(CLIENTS)]
used, odd, winners = set(), [], [0, 0]
asked = took = 0.0


def ready():
    return [i["instance"] for i in gateways[0].instances("ready") if i["instance"] not in used]


def race(instance, number):
    """Sessions that were told that it is theirs. Who is told "unknown" asks again, as a worker does."""
    won, left = [], list(range(CLIENTS))
    until_when = time.monotonic() + 60
    while left and time.monotonic() < until_when:
        for n in left:
            workers[n].send({"op": "assign", "instance": instance, "compute": "lxc", "persona": "probe", "roles": [],
                             "session": session(number * CLIENTS + n), "user": f"u{number}-{n}", "app": "probe"})
        again = []
        for n in left:
            answer = workers[n].receive()
            if answer["status"] == "unknown":
                again.append(n)
            elif answer["status"] == "ok":
                won.append((n, answer["record"]["instance"]))
        left = again
    if left:
        odd.append(f"round {number}: {len(left)} clients had no answer")
    return won


done, began = 0, time.monotonic()
while done < rounds and (done < LEAST or time.monotonic() - began < seconds):
    if until(PATIENCE, ready) is None:
        odd.append("no container got ready")
        break
    instance = ready()[0]
    used.add(instance)
    begin = time.monotonic()
    won = race(instance, done)
    took += time.monotonic() - begin
    if len(won) != 1 or won[0][1] != instance:
        odd.append(f"round {done}: {won}")
    else:
        winners[won[0][0] % 2] += 1
    done += 1
print(f"# {CLIENTS} clients, {done} rounds in {time.monotonic() - began:.0f} s, {took / max(done, 1) * 1000:.1f} ms "
      f"for the {CLIENTS} questions of a round; won through one gateway {winners[0]}, through the other {winners[1]}")
tap.ok(done >= min(LEAST, rounds) and not odd, f"exactly one of {CLIENTS} clients won in each of {done} rounds",
       "; ".join(odd[:3]))
fences = subprocess.run(["virsh", "-q", "-c", "lxc:///system", "secret-list"], stdout=subprocess.PIPE, text=True,
                        check=True).stdout.count(" persona:lxc:")
tap.ok(fences == done, "libvirt has one fence for each", str(fences))
for worker in workers:
    worker.close()
for gateway in gateways:
    took, status = gateway.stop(signal.SIGTERM)
    if odd:
        print("# " + "\n# ".join(open(gateway.log, encoding="utf-8", errors="replace").read().splitlines()[-20:]))
sys.exit(tap.end())
