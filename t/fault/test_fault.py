#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_fault.py SITE IMAGES [soak]: two gateways, one pool, 64 people, and everything that can break under them.

Each fault is done while everybody works. After it: both gateways give desktops again, `personactl audit` on each says
that every promise holds, no instance was ever seen by two people, and nobody's session was lost but those whose
instance was destroyed on purpose. Prints TAP."""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

top = pathlib.Path(os.environ["top_srcdir"])
sys.path[:0] = [str(top / "t/lib"), str(top / "t/manager")]
import gateway  # noqa: E402
from fault_site import APP, LOGS, PASSWORD, send, sign_in_file  # noqa: E402
from fault_site import Balancer, Faults, Gateway, Libvirtd, Memcached  # noqa: E402
from manager_site import Tap, until  # noqa: E402
from people import TROUBLE, Browser, Person, World, mark_of  # noqa: E402

SITE, IMAGES = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
SOAK = float(os.environ.get("PERSONA_SOAK", 1800)) if sys.argv[3:] == ["soak"] else 0  # seconds
SEED = os.environ.get("PERSONA_SEED") or str(time.time_ns())
PEOPLE = 64
SOON = 150  # seconds; the figures are printed
tap = Tap()
began = time.monotonic()
if SOAK:
    print(f"# PERSONA_SEED={SEED}", flush=True)
    random.seed(SEED)

shared = Memcached(11212)
other = Memcached(11213)
libvirtd = Libvirtd()
sign_in_file(SITE / "shared/passwords", [f"p{n}" for n in range(1, PEOPLE + 20)])
gateways = [Gateway("a", 8081, SITE, IMAGES, shared), Gateway("b", 8082, SITE, IMAGES, shared)]
a, b = gateways
world = World(gateways)
people = [Person(world, number) for number in range(1, PEOPLE + 1)]


def leave():
    balancer.control("stop")
    for one in gateways:
        one.kill()
        shutil.copytree(one.folder / "logs", LOGS / one.name, dirs_exist_ok=True)


def on_error(*what):
    sys.__excepthook__(*what)
    leave()
    print(f"Bail out! {what[0].__name__}: {what[1]}", flush=True)
    sys.exit(1)


sys.excepthook = on_error


def audits():
    """What the audits of all gateways find; empty: every promise holds."""
    found = []
    for one in gateways:
        holds, document = one.audit()
        if not holds:
            found.append(f"{one.name}: {json.dumps(document)}")
    return found


def settled(name, since, over, apart=False):
    """After a fault that began and ended at these times: is everything as it should be again?"""
    served = until(SOON, lambda: world.claimed(over) == {"a", "b"})
    tap.ok(served is not None, f"{name}: both gateways give desktops again",
           f"{served:.1f} s" if served is not None else f"only {world.claimed(over)}; "
           f"{sum(person.doing == 'waits' for person in people)} people wait")
    clean = until(SOON, lambda: not audits())
    tap.ok(clean is not None, f"{name}: the audit of each gateway is clean",
           f"{time.monotonic() - over:.1f} s" if clean is not None else "; ".join(audits())[:1500])
    tap.ok(not world.since(world.violations, since), f"{name}: no instance is seen by two people",
           "; ".join(world.since(world.violations, since)))
    wrong, lost = world.since(world.stuck, since), world.since(world.lost, since)
    if apart == "two":
        # Without what gateways have in common, each may give a person a desktop before it reads of the other's, of
        # which one is taken back, or lead them once more into the one that they have ended: never another person's.
        back = world.since(world.returned, since)
        print(f"# {len(lost)} people had two desktops and keep one, {len(back)} met one that they had ended",
              flush=True)
    else:
        wrong += lost
    if not apart:  # without the note of an end in memcached, the other gateway learns of it by its next reading only
        wrong += world.since(world.returned, since)
    tap.ok(not wrong, f"{name}: everybody keeps what is theirs", "; ".join(wrong))


def fault(name, do, lasts=0, undo=None, apart=False):
    print(f"# {time.monotonic():.1f} (+{time.monotonic() - began:.0f} s) {name}", flush=True)
    since, world.slowest = time.monotonic(), 0.0
    do()
    time.sleep(lasts)
    if undo:
        undo()
    slowest = world.slowest
    settled(name, since, time.monotonic(), apart)
    if lasts:  # PersonaTimeout is 5 s; this machine may have other things to do
        tap.ok(slowest < 15, f"{name}: everybody is answered meanwhile, one way or the other", f"{slowest:.1f} s")


# ---- the start ----
shared.start()
for one in gateways:
    one.start()
balancer = Balancer(8080, SITE, gateways)
said = balancer.control("start")
guest = gateway.Visitor(balancer.address, f"p{PEOPLE + 10}", PASSWORD)


def guest_sees():
    try:
        return mark_of(guest, "guest")
    except TROUBLE:
        return None


tap.ok(until(SOON, lambda: guest.get(APP) and guest.wait("marker")["state"] == "ready") is not None and guest_sees(),
       "a session through a balancer, as docs/reference.md says", said)
room = guest_sees()
seen = {guest_sees() for _ in range(20)}
through = [len(re.findall(f" p{PEOPLE + 10} ", (one.folder / "logs/access.log").read_text())) for one in gateways]
tap.ok(seen == {room} and min(through) >= 5, "it goes on at the other gateway, request by request",
       f"{len(seen)} instances, {through} requests")
for person in people:
    person.start()
tap.ok(until(SOON, lambda: len({person.user for person in people if person.sessions}) >= 16) is not None,
       "two gateways, one pool: people get desktops")


def each(what):
    return lambda: [what(one) for one in gateways]


def kill_manager(one):
    send(one.manager(), signal.SIGKILL)


def kill_worker(one):
    for pid in one.workers():
        send(pid, signal.SIGKILL)


def again(one):
    one.kill()
    one.start()


def memcached_again(megabytes=64):
    shared.kill()
    shared.megabytes = megabytes
    shared.start()


def kill_instances():
    """Of two people who work, and one that is ready."""
    victims = [person for person in people if person.doing == "works"][:2]
    for person in victims:
        world.doomed.add(person.instance)
        send(libvirtd.process_of(person.instance), signal.SIGKILL)


def managers_frozen():
    global frozen
    frozen = [one.manager() for one in gateways]
    for pid in frozen:
        send(pid, signal.SIGSTOP)


def managers_go_on():
    for pid in frozen:
        send(pid, signal.SIGCONT)


def split():
    other.start()
    b.memcached = other
    b.configure()
    b.graceful()


def unite():
    b.memcached = shared
    b.configure()
    b.graceful()
    time.sleep(1)
    other.kill()


def evict():
    """A memcached of 1 MB, and far more than that is put into it."""
    memcached_again(1)
    end, n = time.monotonic() + 8, 0
    while time.monotonic() < end:
        shared.put({f"junk-{n + i}": "x" * random.randrange(100, 2000) for i in range(200)})
        n += 200
        time.sleep(0.2)
    print(f"# {shared.evictions()} evictions", flush=True)


def replay():
    """What memcached said some seconds ago, it says again: records of sessions that are over, slots, counters."""
    old = shared.everything()
    time.sleep(8)
    shared.put(old)
    print(f"# {len(old)} values replayed", flush=True)


def forge():
    """Values under each other's keys, with other instances in them, and plain nonsense."""
    for _ in range(4):
        values = shared.everything()
        for kind in (":session:", ":slot:", ":user:", ":wait:", ":ended:", ":attached:", ":planner:", ":generation:"):
            keys = [key for key in values if kind in key]
            moved = dict(zip(keys, [values[key] for key in keys[1:] + keys[:1]]))
            instances = re.findall(r'"instance":"([0-9a-f-]{36})"', " ".join(values[key] for key in keys))
            for n, key in enumerate(keys):
                if n % 3 == 1 and instances:
                    moved[key] = re.sub(r"[0-9a-f-]{36}", random.choice(instances), values[key])
                elif n % 3 == 2:
                    moved[key] = "nonsense"
            shared.put(moved)
        time.sleep(2)


def takeover():
    """kill -9 of the whole gateway that plans: the other one plans soon."""
    planner = [one for one in gateways if one.plans()]
    if len(planner) != 1:
        return tap.ok(False, "one gateway plans", f"{[one.name for one in planner]}")
    rest = [one for one in gateways if one is not planner[0]][0]
    room = guest_sees()
    planner[0].kill()
    took = until(30, rest.plans)
    tap.ok(took is not None and took < 4, "kill -9 of the gateway that plans: the other one takes over",
           f"{took:.1f} s" if took is not None else "never")
    took = until(30, lambda: guest_sees() == room)
    tap.ok(room and took is not None, "and the session through the balancer goes on",
           f"{took:.1f} s" if took is not None else "never")
    planner[0].start()


# ---- fault points ----
faults = Faults()


def leavers():
    """People who ask once and are gone: their places are skipped."""
    for number in range(PEOPLE + 1, PEOPLE + 9):
        try:
            Browser(world, f"p{number}", page=False).wait("marker")
        except TROUBLE:
            pass


def everywhere(word, points, limit=30):
    """Arms all these points at once; most are passed within seconds."""
    def do():
        for point in points:
            faults.arm(point, word)
        shared.ask("flush_all")
        time.sleep(2)
        leavers()
        until(limit, lambda: not any(faults.armed(point) for point in points))
        left = faults.disarm()
        print(f"# {len(points) - len(left)} of {len(points)} points fired; not: {' '.join(left)}", flush=True)
    return do


def killing(points):
    """One after the other: whoever comes by is killed; the next one when every gateway has its manager again."""
    def do():
        for point in points:
            when = time.monotonic()
            faults.arm(point, "after" if faults.kinds[point] == "CALL" else "kill")
            if point in ("publish_counted", "publish_name"):
                shared.ask("flush_all")
            if point == "publish_skip":
                leavers()
            until(10, lambda: not faults.armed(point))
            fired = not faults.disarm()
            until(20, lambda: all(one.manager() for one in gateways))
            print(f"# {point}: {'killed' if fired else 'not passed'}, {time.monotonic() - when:.1f} s", flush=True)
    return do


def group(*prefixes):
    return [point for point in faults.kinds if point.startswith(prefixes)]


if SOAK:
    choices = [
        ("kill -9 of a manager", lambda: kill_manager(random.choice(gateways)), 0, None),
        ("kill -9 of both managers", each(kill_manager), 0, None),
        ("kill -9 of all workers of a gateway", lambda: kill_worker(random.choice(gateways)), 0, None),
        ("kill -9 of a whole httpd", lambda: again(random.choice(gateways)), 0, None),
        ("graceful in the middle", each(Gateway.graceful), 0, None),
        ("flush_all", lambda: shared.ask("flush_all"), 0, None),
        ("kill -9 of memcached", memcached_again, 0, None),
        ("kill -9 of libvirtd", lambda: (libvirtd.kill(), libvirtd.start()), 0, None),
        ("kill -9 of instances", kill_instances, 0, None),
        ("SIGSTOP of memcached", shared.stop, 10, shared.go_on),
        ("SIGSTOP of libvirtd", libvirtd.stop, 10, libvirtd.go_on),
        ("SIGSTOP of both managers", managers_frozen, 10, managers_go_on),
        ("a memcached of 1 MB that evicts", evict, 0, memcached_again),
        ("replayed records", replay, 0, None),
        ("forged records", forge, 0, None),
        ("two gateways that see two memcacheds", split, 12, unite)]
    while time.monotonic() - began < SOAK:
        if random.random() < 0.4:
            points = random.sample(sorted(faults.kinds), random.randrange(1, 6))
            word = random.choice(["kill", "after", "fail", "lose", "hang 3"])
            fault(f"{word} at {' '.join(points)}", everywhere(word, points, 15))
        else:
            name, do, lasts, undo = random.choice(choices)
            fault(name, do, lasts, undo, apart="two" if name.endswith("two memcacheds") else
                  name.endswith(("records", "evicts")))
else:
    fault("kill -9 of libvirtd", lambda: (libvirtd.kill(), libvirtd.start()))
    fault("kill -9 of a manager", lambda: kill_manager(a))
    fault("kill -9 of both managers", each(kill_manager))
    fault("kill -9 of all workers of a gateway", lambda: kill_worker(b))
    fault("kill -9 of a whole httpd", takeover)
    fault("graceful in the middle", each(Gateway.graceful))
    fault("flush_all", lambda: shared.ask("flush_all"))
    fault("kill -9 of memcached", memcached_again)
    fault("kill -9 of instances", kill_instances)
    fault("SIGSTOP of memcached for 10 s", shared.stop, 10, shared.go_on, apart="two")
    fault("SIGSTOP of libvirtd for 10 s", libvirtd.stop, 10, libvirtd.go_on, apart="two")
    fault("SIGSTOP of both managers for 10 s", managers_frozen, 10, managers_go_on, apart="two")
    fault("a memcached of 1 MB that evicts", evict, 0, memcached_again, apart=True)
    fault("replayed records", replay, apart=True)
    fault("forged records", forge, apart=True)
    fault("two gateways that see two memcacheds", split, 12, unite, apart="two")
    fault("every call fails once", everywhere("fail", faults.calls()), apart="two")
    fault("every call loses its answer once", everywhere("lose", faults.calls()), apart="two")
    fault("everything hangs for 4 s once", everywhere("hang 4", list(faults.kinds)), apart="two")
    # Backwards: what ends a manager begins every lease anew, and the last steps come after a lease.
    fault("kill -9 at each step of a release and a retirement", killing(group("release", "retire", "read")[::-1]))
    fault("kill -9 at each step of a claim", killing(group("claim", "assign")))
    fault("kill -9 at each step of a publication and a refill", killing(group("publish", "refill")))
    done = subprocess.run([top / "t/fault/coverage", faults.folder], stdout=subprocess.PIPE, text=True)
    tap.ok(done.returncode == 0, "every fault point was fired", done.stdout.strip().replace("\n", "; "))

# ---- the end ----
tap.ok(guest.end("marker").status == 200, "the session through the balancer is ended")
world.stopping.set()
left = until(SOON, lambda: all(not person.is_alive() for person in people))
tap.ok(left is not None, "everybody can end their session and leave",
       ", ".join(f"{person.user} {person.doing}" for person in people if person.is_alive()))
never = [person.user for person in people if not person.sessions]
tap.ok(not never, f"every one of {PEOPLE} people got a desktop in the end",
       f"{len(world.claims)} desktops" if not never else " ".join(never))
tap.ok(not world.violations, f"of {len(world.owners)} instances none was ever seen by two people",
       "; ".join(text for _, text in world.violations))
waits = sorted((claim[3], claim[2]) for claim in world.claims)
if waits:
    print(f"# {len(waits)} desktops, waits: median {waits[len(waits) // 2][0]:.1f} s, at worst " +
          ", ".join(f"{seconds:.1f} s ({user})" for seconds, user in waits[:-6:-1]) + "; "
          f"{time.monotonic() - began:.0f} s in all")
leave()
sys.exit(tap.end())
