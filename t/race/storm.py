#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two personads under everything at once: claims, ends, heartbeats, status, audits, reloads, refreshes. Prints TAP.

   storm.py PERSONAD SERVER MEMCACHED SECONDS    in t/lib/sandbox, as t/stage/storm starts it

SERVER is the socket of a fake compute that both share (t/fake). Each client is a
web worker: it asks for what the line would have offered it, often the same instance as others do at that moment.
"""
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "manager"))
from manager_site import Gateway, Tap, session, until  # noqa: E402

personad, server, memcached = sys.argv[1], sys.argv[2], sys.argv[3]
seconds = float(sys.argv[4])
base = os.environ["TMPDIR"] + "/storm"
CLIENTS = 8
tap = Tap()


def write_persona(minimum, name="one"):
    hours = ", ".join(['"low"'] * 24)
    path = f"{base}/personas/{name}.json"
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(f"""{{
"persona_id": "{name}", "app_id": "probe", "application_source": "desktop",
"resource_profile": {{"cpu": 1, "memory": "64MiB"}},
"execution_environment": {{"compute": "shared", "os_image": "image", "libraries": [],
  "network": {{"name": "persona", "isolated": true}}, "stream": {{"protocol": "http", "port": 6080, "path": "/"}},
  "ready": {{"path": "/", "timeout": "60s"}}}},
"predicted_usage_pattern": {{"timezone": "UTC", "hourly": [{hours}]}},
"user_role_affinity": [], "auto_scale_rules": [], "pool": {{"min": {minimum}, "max": 200}}}}
""")
    os.rename(path + ".new", path)


class Board:
    """Who was told that an instance is theirs."""

    def __init__(self):
        self.lock, self.owner, self.doubled, self.claims, self.asked = threading.Lock(), {}, [], 0, 0

    def note(self, instance, who):
        with self.lock:
            self.claims += 1
            if self.owner.setdefault(instance, who) != who:
                self.doubled.append(instance)


board = Board()
stop = threading.Event()
broken = []


def guarded(work):
    """A thread's loop, until the storm is over; what it raises is a failure, but for a connection that ends with it."""
    def run(*args):
        try:
            while not stop.is_set():
                work(*args)
        except Exception as error:  # pylint: disable=broad-except
            if not stop.is_set():
                broken.append(f"{work.__name__}: {error!r}")
    return run


def client(gateway, number, seen):
    """One person after the other: claims, perhaps connects, goes."""
    worker = gateway.worker(30)
    for turn in range(50):
        if stop.is_set():
            break
        who = session(number * 1000000 + seen[0])
        seen[0] += 1
        answer = {}
        for _ in range(4):
            with board.lock:
                board.asked += 1
            offered = random.choice(ready) if ready and random.random() < 0.8 else None
            if offered:
                answer = gateway.assign({"instance": offered, "compute": "shared"}, who, f"u{number}", worker, "one")
            else:
                answer = worker.ask("claim", persona="one", session=who, user=f"u{number}", roles=[], app="probe",
                                    arrived=int(time.time() * 1e6))
            if answer.get("record"):
                break
        if not answer.get("record"):
            worker.ask("demand", persona="one", session=who)
            continue
        board.note(answer["record"]["instance"], who)
        found = worker.ask("find", session=who, user=f"u{number}", app="probe")
        if found.get("record", {}).get("instance") != answer["record"]["instance"]:
            broken.append(f"session of {answer['record']['instance']} was found as {found}")
        worker.ask("attach", session=who, instance=answer["record"]["instance"], streams=turn % 2,
                   last_input=int(time.time() * 1e6))
        worker.ask("end", session=who, user=f"u{number}")
    worker.close()


ready = []


def watcher(gateway):
    """What is ready now, as the line would offer it."""
    ready[:] = [i["instance"] for i in gateway.instances("ready")][:6]
    time.sleep(0.05)


def administrator(gateway):
    gateway.administrator("audit")
    gateway.administrator("reload")
    write_persona(random.randint(8, 16))
    write_persona(0, "two")
    gateway.administrator("refresh", persona="two")
    gateway.administrator("sessions")
    time.sleep(0.3)


os.makedirs(base + "/personas")
write_persona(12)
os.chmod(base, 0o755)
settings = {
    "directory": base + "/personas", "memcached": memcached, "ns": "0123456789ab", "keys": ["5e" * 32],
    "schedule": 200000, "timeout": 5000000, "log_level": 4, "web_uid": os.getuid(), "forecast": "on",
    "computes": [{"name": "shared", "provider": "fake", "address": server, "options": {"boots": "16"}}]}
gateways = [Gateway(name, personad, base, settings) for name in ("one", "two")]
for gateway in gateways:
    gateway.start()
took = until(90, lambda: all(len(g.instances("ready")) >= 8 for g in gateways))
tap.ok(took is not None, "two managers fill a pool", "%.1f s" % (took or -1))
threads = [threading.Thread(target=guarded(client), args=(gateways[n % 2], n, [0])) for n in range(CLIENTS)]
threads += [threading.Thread(target=guarded(watcher), args=(gateways[0],)),
            threading.Thread(target=guarded(administrator), args=(gateways[1],))]
for thread in threads:
    thread.start()
end = time.monotonic() + seconds
time.sleep(seconds)
while board.claims < 50 and time.monotonic() < end + 120:
    time.sleep(0.5)
stop.set()
for thread in threads:
    thread.join(60)
print(f"# {board.claims} claims of {board.asked} questions, {len(board.owner)} instances")
tap.ok(not any(thread.is_alive() for thread in threads) and not broken, "everybody was answered", "; ".join(broken[:3]))
tap.ok(board.claims >= 50, "claims were served", str(board.claims))
tap.ok(not board.doubled, "no instance was handed out twice", " ".join(board.doubled[:3]))
audit = {}


def settled():
    """All instances of the storm are still being retired: their leases are waited out."""
    audit.update(gateways[0].administrator("audit"))
    return not [f for f in audit["findings"] if f["promise"] in ("I1", "I5")]


took = until(60, settled)
tap.ok(took is not None, "the audit finds no instance with two sessions and no session with two instances",
       "%.1f s %s" % (took or -1, str(audit)[:300] if took is None else ""))
for gateway in gateways:
    took, status = gateway.stop(signal.SIGTERM)
    said = open(gateway.log, encoding="utf-8", errors="replace").read()
    tap.ok(status == 0 and "Sanitizer" not in said, f"manager {gateway.name} ends with status 0 and no sanitizer spoke",
           f"{took:.1f} s, status {status}")
    if status or "Sanitizer" in said:
        print("# " + "\n# ".join(said.splitlines()[-60:]))
    if "PERSONA_LOGS" in os.environ:
        with open(f"{os.environ['PERSONA_LOGS']}/{gateway.name}.log", "w", encoding="utf-8") as f:
            f.write(said)
sys.exit(tap.end())
