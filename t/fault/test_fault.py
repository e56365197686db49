#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_fault.py SITE IMAGES [soak [SEED]]: two gateways, one pool, 64 people, and everything that can break under them.

Each fault is done while everybody works. After it: both gateways give desktops again, `personactl audit` on each says
that every promise holds, no instance was ever seen by two people, and nobody's session was lost but those whose
instance was destroyed on purpose. Prints TAP."""
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time

top = pathlib.Path(os.environ["top_srcdir"])
sys.path[:0] = [str(top / "t/lib"), str(top / "t/manager")]
from fault_site import LOGS, Gateway, Libvirtd, Memcached, children, send, sign_in_file  # noqa: E402
from manager_site import Tap, until  # noqa: E402
from people import Browser, Person, World  # noqa: E402

SITE, IMAGES = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
PEOPLE = 64
SOON = 90  # seconds; the figures are printed
tap = Tap()
began = time.monotonic()

shared = Memcached(11212)
other = Memcached(11213)
libvirtd = Libvirtd()
sign_in_file(SITE / "shared/passwords", [f"p{n}" for n in range(1, PEOPLE + 20)])
gateways = [Gateway("a", 8081, SITE, IMAGES, shared), Gateway("b", 8082, SITE, IMAGES, shared)]
a, b = gateways
world = World(gateways)
people = [Person(world, number) for number in range(1, PEOPLE + 1)]


def leave():
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
    wrong = world.since(world.lost, since) + world.since(world.stuck, since)
    if not apart:  # the other gateway learns of an end by its next reading only
        wrong += world.since(world.returned, since)
    tap.ok(not wrong, f"{name}: everybody keeps what is theirs", "; ".join(wrong))


def fault(name, do, lasts=0, undo=None, apart=False):
    print(f"# {time.monotonic():.1f} (+{time.monotonic() - began:.0f} s) {name}", flush=True)
    since = time.monotonic()
    do()
    time.sleep(lasts)
    if undo:
        undo()
    settled(name, since, time.monotonic(), apart)


# ---- the start ----
shared.start()
for one in gateways:
    one.start()
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


fault("kill -9 of a manager", lambda: kill_manager(a))
fault("kill -9 of both managers", each(kill_manager))
fault("kill -9 of all workers of a gateway", lambda: kill_worker(b))
fault("kill -9 of a whole httpd", lambda: again(a))
fault("graceful in the middle", each(Gateway.graceful))
fault("flush_all", lambda: shared.ask("flush_all"))
fault("kill -9 of memcached", memcached_again)
fault("kill -9 of libvirtd", lambda: (libvirtd.kill(), libvirtd.start()))
fault("kill -9 of instances", kill_instances)
fault("SIGSTOP of memcached for 10 s", shared.stop, 10, shared.go_on)
fault("SIGSTOP of libvirtd for 10 s", libvirtd.stop, 10, libvirtd.go_on)
fault("SIGSTOP of both managers for 10 s", managers_frozen, 10, managers_go_on)
fault("two gateways that see two memcacheds", split, 12, unite, apart=True)

# ---- the end ----
world.stopping.set()
left = until(SOON, lambda: all(not person.is_alive() for person in people))
tap.ok(left is not None, "everybody can end their session and leave",
       ", ".join(f"{person.user} {person.doing}" for person in people if person.is_alive()))
never = [person.user for person in people if not person.sessions]
tap.ok(not never, f"every one of {PEOPLE} people got a desktop in the end",
       f"{len(world.claims)} desktops" if not never else " ".join(never))
tap.ok(not world.violations, f"of {len(world.owners)} instances none was ever seen by two people",
       "; ".join(text for _, text in world.violations))
waits = sorted(claim[3] for claim in world.claims)
if waits:
    print(f"# {len(waits)} desktops, waits: median {waits[len(waits) // 2]:.1f} s, at worst {waits[-1]:.1f} s; "
          f"slowest answer {world.slowest:.1f} s; {time.monotonic() - began:.0f} s in all")
leave()
sys.exit(tap.end())
