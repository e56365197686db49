#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_site.py SITE ADDRESS: a site whose instances are containers of a Docker engine: sessions, and what they live
through. Prints TAP. The environment has the engine's client (cli) and t/lib/services.sh's $services and $root."""
import os
import pathlib
import signal
import subprocess
import sys
import time

top = pathlib.Path(os.environ["root"])
sys.path[:0] = [str(top / "t/lib"), str(top / "t/manager")]
import gateway  # noqa: E402
from manager_site import Tap, until  # noqa: E402

SITE, ADDRESS = pathlib.Path(sys.argv[1]), sys.argv[2]
PASSWORDS = dict(line.split() for line in (SITE / "signin").read_text().splitlines())
LIMIT = 60
tap = Tap()


def on_error(*what):
    sys.__excepthook__(*what)
    print("# " + "\n# ".join((SITE / "logs/error.log").read_text(errors="replace").splitlines()[-40:]))
    print(f"Bail out! {what[0].__name__}: {what[1]}", flush=True)
    sys.exit(1)


sys.excepthook = on_error


def person(name):
    return gateway.Visitor(ADDRESS, name, PASSWORDS[name])


def cli(*arguments):
    return subprocess.run([*os.environ["cli"].split(), *arguments], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.split()


def services(command):
    subprocess.run(["bash", "-c", '. "$root/t/lib/services.sh"; ' + command], check=True, stdout=subprocess.DEVNULL)


def containers():
    """Names of the containers that run, by the uuid of their instance."""
    lines = cli("ps", "--no-trunc", "--format", '{{.Label "persona.uuid"}}={{.Names}}')
    return dict(line.split("=") for line in lines)


def inside(visitor):
    """The uuid that the instance itself says, through the gateway; None: nobody answers."""
    try:
        text = visitor.get("/apps/web/cgi-bin/env").text()
    except OSError:
        return None
    return next((line.split("=")[1] for line in text.splitlines() if line.startswith("PERSONA_INSTANCE=")), None)


def click(visitor):
    """A session as a browser begins one: first a cookie, then the claim. The seconds that took."""
    begin = time.monotonic()
    visitor.request("GET", "/apps/web/")
    until(LIMIT, lambda: visitor.wait("web").get("state") == "ready")
    return time.monotonic() - begin


def ready():
    """How many instances the manager keeps ready."""
    return next(pool["ready"] for pool in person("admin").status()["personas"] if pool["id"] == "web")


def pool():
    """The instances that somebody could be given."""
    return [one["instance"] for one in person("admin").status()["instances"] if one["state"] == "ready"]


def manager():
    """The pid of personad."""
    return int(subprocess.run(["pgrep", "-x", "-u", "persona", "personad"], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.split()[0])


alice, bob = person("alice"), person("bob")
took = click(alice)
mine = inside(alice)
print(f"# a click on a warm pool took {took * 1000:.0f} ms")
tap.ok(mine in containers(), "a click ends at a container")
tap.ok(containers()[mine].startswith(f"persona-assigned-{mine}-"), "whose name says that somebody has it")
click(bob)
his = inside(bob)
tap.ok(his and his != mine, "another person gets another one")

if not until(LIMIT, lambda: ready() >= 2):
    raise SystemExit("Bail out! the pool does not fill again")
idle = next(uuid for uuid, name in containers().items() if not name.startswith("persona-assigned"))
before = time.monotonic()
cli("kill", containers()[idle])
known = until(LIMIT, lambda: idle not in pool())
print(f"# a dead instance was out of the pool after {(time.monotonic() - before) * 1000:.0f} ms")
tap.ok(known, "one that dies leaves the pool")
tap.ok(until(LIMIT, lambda: ready() >= 2), "and is replaced")

os.kill(manager(), signal.SIGKILL)
tap.ok(until(LIMIT, lambda: inside(alice) == mine), "a manager that is killed takes no session with it")
tap.ok(until(LIMIT, lambda: ready() >= 2), "the next one finds the pool")
subprocess.run(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/11212; printf 'flush_all\\r\\nquit\\r\\n' >&3; cat <&3"],
               check=True, stdout=subprocess.DEVNULL)
tap.ok(until(LIMIT, lambda: inside(alice) == mine and inside(bob) == his), "nor does an empty memcached")
cli("volume", "prune", "-f")
tap.ok(until(LIMIT, lambda: inside(alice) == mine and inside(bob) == his), "nor swept volumes")

engine = int((pathlib.Path(os.environ["services"]) / "dockerd.pid").read_text())
os.kill(engine, signal.SIGKILL)
tap.ok(inside(alice) == mine, "nor an engine that is killed")
until(LIMIT, lambda: not os.path.exists(f"/proc/{engine}"))
services("service_docker")
tap.ok(until(LIMIT, lambda: inside(alice) == mine and ready() >= 2), "which comes back")
carol = person("carol")
click(carol)
tap.ok(inside(carol) not in (None, mine, his), "and serves the next person")
hers = inside(carol)
carol.end("web")

cli("kill", containers()[mine])
tap.ok(until(LIMIT, lambda: alice.request("GET", "/apps/web/").status == 410), "who loses the instance is told so")
again = person("alice")
click(again)
tap.ok(inside(again) not in (None, mine), "and gets another by a click")
# The lease of the record is waited out before anything is destroyed.
tap.ok(until(3 * LIMIT, lambda: hers not in containers()), "an ended session leaves no container")
tap.ok(until(LIMIT, lambda: not [name for name in cli("volume", "ls", "-q") if hers in name]), "and no volume")
sys.exit(tap.end())
