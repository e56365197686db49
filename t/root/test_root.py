#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""httpd as root, with memcached and libvirt: privileges, descriptors, kill -9, gracefuls under streams. Prints TAP.

   test_root.py SITE      in t/lib/sandbox, where t/stage/root has started the site in the folder SITE
"""
import grp
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time

top = pathlib.Path(os.environ["top_srcdir"])
sys.path[:0] = [str(top / "t/lib"), str(top / "t/manager")]
import gateway  # noqa: E402
from manager_site import Tap, until  # noqa: E402

SITE = pathlib.Path(sys.argv[1])
ADDRESS = "127.0.0.1:8080"
READY = json.loads((SITE / "personas/screen.json").read_text())["pool"]["min"]
HELD, STREAMS, GRACEFULS = 10, 30, 20
PATIENCE = 120  # seconds, on a machine with other things to do; figures are printed
tap = Tap()


def on_error(*what):
    sys.__excepthook__(*what)
    print("# " + "\n# ".join(log_text().splitlines()[-40:]))
    print(f"Bail out! {what[0].__name__}: {what[1]}", flush=True)
    sys.exit(1)


sys.excepthook = on_error

# ---- the site ----


def shell(command, *arguments):
    """A line of bash, with the functions of t/lib/site.sh."""
    done = subprocess.run(["bash", "-c", 'site=$1; shift; . "$top_srcdir/t/lib/site.sh"; ' + command, "-", SITE,
                           *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    return done.returncode, done.stdout


def httpd(*arguments):
    return shell('site_httpd "$@"', *arguments)


def answers():
    """Every site of this httpd serves: the portal, scripts, and the persons' files."""
    try:
        homes = gateway.Visitor("192.168.150.1:6082", timeout=5).request("GET", "/home/p1/").status
        return admin.get("/apps/").status == 200 and intrude()["who"] and homes == 401
    except (OSError, ValueError, KeyError):
        return False


def start():
    code, said = httpd("-k", "start")
    end = time.monotonic() + 20
    # The children of a parent that was killed leave its port when they notice.
    while code and "Address already in use" in said and time.monotonic() < end:
        time.sleep(0.2)
        code, said = httpd("-k", "start")
    if code or not until(20, lambda: admin.get("/apps/").status):
        raise SystemExit("Bail out! httpd does not start: " + said)


def stop():
    parent = pid_of_httpd()
    httpd("-k", "stop")
    return until(20, lambda: not os.path.exists(f"/proc/{parent}"))


def graceful():
    os.kill(pid_of_httpd(), signal.SIGUSR1)


def kill9(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def pid_of_httpd():
    return int((SITE / "run/httpd.pid").read_text())


def log_text():
    try:
        return (SITE / "logs/error.log").read_text(errors="replace")
    except FileNotFoundError:
        return ""


class Log:
    """What the error log says from now on."""

    def __init__(self):
        self.at = len(log_text())

    def text(self):
        return log_text()[self.at:]

    def count(self, pattern):
        return len(re.findall(pattern, self.text()))


# ---- processes ----


def status_of(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children(parent):
    """pid: /proc/PID/status of every child that is no zombie."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            status = status_of(entry)
            if status.get("PPid") == str(parent) and not status["State"].startswith("Z"):
                found[int(entry)] = status
    return found


def managers():
    """Every personad of this machine, whoever's child it is."""
    return [int(entry) for entry in os.listdir("/proc")
            if entry.isdigit() and status_of(entry).get("Name") == "personad"]


def manager():
    """The one personad; None while there is none or more."""
    found = managers()
    return found[0] if len(found) == 1 else None


def workers():
    return {pid: status for pid, status in children(pid_of_httpd()).items()
            if status["Name"] == "apache2" and int(status["Threads"]) > 1}


def script_daemons():
    """mod_cgid's: httpd's only child with one thread that is no manager."""
    return {pid: status for pid, status in children(pid_of_httpd()).items()
            if status["Name"] == "apache2" and int(status["Threads"]) == 1}


def settled(old=None):
    """The generation is in force: one manager, which is not `old`, one script daemon, workers."""
    now = manager()
    return now and now != old and len(script_daemons()) == 1 and len(workers()) >= 2


def descriptors(pid):
    """fd: what it is, with the path of a bound unix socket."""
    paths = {}
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[3] == "00010000":  # listens
            paths["socket:[%s]" % fields[6]] = fields[7]
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            what = os.readlink(f"/proc/{pid}/fd/{fd}")
            found[int(fd)] = paths.get(what, what)
        except FileNotFoundError:
            pass
    return found


def ours(pid):
    """What of our own the process has open: the lifeline, the manager's sockets, settings, the key."""
    lifeline = {what for what in descriptors(manager()).values() if what.startswith("pipe:")}
    return sorted(what for what in descriptors(pid).values()
                  if what in lifeline or "persona.sock" in what or "persona settings" in what or what.endswith("/key"))


# ---- sessions ----


def person(number):
    name = f"p{number}"
    return gateway.Visitor(ADDRESS, name, passwords[name], timeout=10)


def open_session(visitor, limit=PATIENCE):
    """Seconds until the session was there, by the clock of whoever began at `visitor.began`."""
    while True:
        try:
            visitor.open("screen", limit)
            return time.monotonic() - visitor.began
        except OSError:
            if time.monotonic() - visitor.began > limit:
                raise
            time.sleep(0.05)


newcomers = iter(range(HELD + 1, 71))


def newcomer(began, answered=None):
    """A person who has no session yet clicks: the seconds since `began` until theirs is there. `answered` gets the
    seconds until the click was answered, by the session or by a page that waits for it."""
    number = next(newcomers)
    visitor = person(number)
    visitor.began = began
    if answered is not None:
        answered.append(time.monotonic() - began if visitor.get("/apps/screen/").status in (200, 202, 503) else 99)
    took = open_session(visitor)
    visitors[f"p{number}"] = visitor
    return took


def document():
    return admin.status()


def pool():
    return document()["personas"][0]


def held():
    """user: instance, of every session, as the manager tells."""
    return {session["user"]: session["instance"] for session in document()["sessions"]}


def virsh(*arguments):
    return subprocess.run(["virsh", "-q", "-c", "lxc:///system", *arguments], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.split()


def domains():
    return {name for name in virsh("list", "--all", "--name") if name.startswith("persona-")}


def full():
    """Every session has one instance, and the pool is as full as it should be: nothing is missing, lost or twofold."""
    state = document()
    users = [session["user"] for session in state["sessions"]]
    return (state["personas"][0]["ready"] == READY and sorted(users) == sorted(visitors) and
            len(state["instances"]) == len(domains()) == len(users) + READY)


def fill(limit=PATIENCE):
    """Seconds until the pool is full(); None, with a print of what there is instead, when it does not become so."""
    took = until(limit, full)
    if took is None:
        state = document()
        print(f"#   not full: visitors {sorted(visitors)}, domains {sorted(domains())}")
        for kind in ("personas", "sessions", "instances"):
            for entry in state[kind]:
                print(f"#   {kind}: {json.dumps(entry)}")
    return took


def found(before):
    """Every person who had a session comes back to the same instance."""
    missing = []
    for name, visitor in visitors.items():
        if name in before:
            visitor.began = time.monotonic()
            try:
                open_session(visitor, 20)
            except (gateway.Refused, OSError) as error:
                missing.append(f"{name}: {error}")
    # A manager tells of sessions once it has read the computes; people come back to them before that.
    until(5, lambda: before.items() <= held().items())
    now = held()
    return missing + [f"{name}: {was} became {now.get(name)}" for name, was in before.items() if now.get(name) != was]


class HeldStream:
    """A screen that is looked at twice a second until stop()."""

    def __init__(self, visitor):
        self.stream = visitor.stream("screen")
        self.updates, self.error, self.stopped = 0, None, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stopped.is_set():
                self.stream.update()
                self.updates += 1
                self.stopped.wait(0.5)
        except (OSError, EOFError, gateway.Refused) as error:
            self.error = str(error) or type(error).__name__

    def stop(self):
        self.stopped.set()
        self.thread.join(20)
        self.stream.close()


# ---- scripts of the web user ----


def targets():
    processes = {"httpd's parent": pid_of_httpd(), "the manager": manager(), "a worker": sorted(workers())[0]}
    run = SITE / "run"
    (SITE / "cgi/targets.json").write_text(json.dumps({
        "files": [str(SITE / name) for name in ("key", "signin", "state", "state/persona.db", "state/manager-id")],
        "sockets": ["/run/libvirt/libvirt-sock", "/run/libvirt/libvirt-sock-ro", "/run/libvirt/libvirt-admin-sock",
                    str(run / "persona.sock.control")],
        "workers": str(run / "persona.sock"),
        "keep": [str(run / "persona.sock"), str(run / "persona.sock.control"), str(run / "httpd.pid"),
                 str(SITE / "key")],
        "processes": processes, "others": ["httpd's parent", "the manager"]}))
    (SITE / "cgi/targets.json").chmod(0o644)


def intrude():
    return admin.get("/cgi/intruder").json()


def taken(answer):
    return [f"{what}: {how}" for what, how in answer["tried"].items() if how.startswith("GOT")]


def inherited(answer):
    return {fd: what for fd, what in answer["descriptors"].items() if int(fd) > 2}


def refused_all(answer, who):
    got = taken(answer)
    count = len(answer["tried"])
    tap.ok(not got and count > 30, f"{who} gets nothing in {count} attempts", "; ".join(got))
    for what, how in answer["tried"].items():
        print(f"#   {what}: {how}")


def identity(name):
    """Uid, Gid and Groups of /proc/PID/status for a user."""
    entry = pwd.getpwnam(name)
    every = sorted(os.getgrouplist(name, entry.pw_gid))
    return {"Uid": [str(entry.pw_uid)] * 4, "Gid": [str(entry.pw_gid)] * 4, "Groups": [str(gid) for gid in every]}


def privileges(status):
    return {"Uid": status["Uid"].split(), "Gid": status["Gid"].split(),
            "Groups": sorted(status["Groups"].split(), key=int)}


def powerless(status):
    return not any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapAmb") if name in status)


def processes_test():
    parent = pid_of_httpd()
    mine, daemons = workers(), script_daemons()
    boss = manager()
    for name, group in (("httpd", {parent: status_of(parent)}), ("worker", mine), ("script daemon", daemons),
                        ("personad", {boss: status_of(boss)})):
        for pid, status in group.items():
            print(f"#   {name} {pid}: " + ", ".join(f"{key} {' '.join(status[key].split())}" for key in
                                                     ("Uid", "Gid", "Groups", "CapEff", "NoNewPrivs")))
    tap.ok(status_of(parent)["Uid"].split() == ["0"] * 4, "httpd's parent is root")
    web, mgr = identity("www-data"), identity("persona")
    tap.ok(len(mine) >= 2 and all(privileges(s) == web and powerless(s) for s in mine.values()),
           "workers are the web user for good, in its groups only, without a capability")
    tap.ok(len(daemons) == 1 and all(privileges(s) == web and powerless(s) for s in daemons.values()),
           "so is the daemon that runs scripts")
    status = status_of(boss)
    tap.ok(privileges(status) == mgr and powerless(status) and status["NoNewPrivs"] == "1",
           "personad is its own user for good, without a capability, with NO_NEW_PRIVS")
    libvirt = str(grp.getgrnam("libvirt").gr_gid)
    tap.ok(libvirt in privileges(status)["Groups"] and libvirt not in web["Groups"],
           "the group that may use libvirt is personad's, and not the web user's")
    children_left = set(children(parent)) - set(mine) - set(daemons) - {boss}
    tap.ok(not children_left, "httpd has no other child", " ".join(map(str, children_left)))


def descriptors_test(when):
    kept = {pid: ours(pid) for pid in [*workers(), *script_daemons()]}
    tap.ok(not any(kept.values()), f"{when}: neither a worker nor the script daemon holds a descriptor of ours",
           "; ".join(f"{pid}: {', '.join(what)}" for pid, what in kept.items() if what))
    mine = descriptors(manager())
    httpds = {what for what in descriptors(pid_of_httpd()).values() if what.startswith(("socket:", "pipe:"))}
    shared = {what for what in mine.values() if what in httpds}
    strange = [what for fd, what in mine.items() if fd > 2 and what.startswith(str(SITE)) and
               "persona.sock" not in what and not what.startswith(str(SITE / "state"))]
    tap.ok(len(shared) == 1 and not strange, f"{when}: personad has of httpd's but its sockets and the lifeline",
           " ".join([*shared, *strange]))


def scripts_test(module):
    targets()
    answer = intrude()
    tap.ok(privileges(answer["who"]) == identity("www-data"), f"a script of {module} runs as the web user")
    refused_all(answer, f"a script of {module}")
    tap.ok(not inherited(answer), f"a script of {module} inherits no descriptor", json.dumps(answer["descriptors"]))
    key = (SITE / "key").read_text().strip()
    tap.ok(key not in json.dumps(answer["environment"]), f"a script of {module} has no key in its environment")


# ---- the story ----

passwords = dict(line.split() for line in (SITE / "signin").read_text().splitlines())
admin = gateway.Visitor(ADDRESS, "admin", passwords["admin"], timeout=10)
visitors = {}
tap.ok(until(60, settled) and fill(90) is not None, "the site is up and the pool is full")

# ---- who may do what ----
processes_test()
descriptors_test("at first")
scripts_test("mod_cgid")
targets()
answer = json.loads(subprocess.run(
    ["setpriv", "--reuid=www-data", "--regid=www-data", "--init-groups", "--", SITE / "cgi/intruder"],
    stdout=subprocess.PIPE, check=True, text=True).stdout.partition("\n\n")[2])
refused_all(answer, "a process of the web user outside of httpd")

# ---- sessions, and a graceful ----
for number in range(1, HELD + 1):
    visitors[f"p{number}"] = person(number)
    visitors[f"p{number}"].began = time.monotonic()
    open_session(visitors[f"p{number}"])
tap.ok(fill() is not None, f"{HELD} persons have a session each, and the pool is full again")
before, machines, old = held(), domains(), manager()
graceful()
tap.ok(until(20, lambda: settled(old)) is not None, "a graceful: one new manager, the old one leaves")
descriptors_test("after a graceful")
targets()
answer = intrude()
tap.ok(not inherited(answer) and not taken(answer), "after a graceful: a script inherits nothing and gets nothing",
       json.dumps(inherited(answer)) + " ".join(taken(answer)))
missing = found(before)
tap.ok(not missing and domains() == machines, "after a graceful: sessions are found, no instance comes or goes",
       "; ".join(missing))

# ---- a new key ----
old_key, new_key = (SITE / "key").read_text().strip(), os.urandom(32).hex()
(SITE / "key").write_text(f"{old_key}\n{new_key}\n")
code, said = httpd("-t")
named = re.search(r'"(site [0-9a-f]{12})", if its instances were made with the first', said)
tap.ok(code != 0 and named, "httpd -t: two keys need the site's name, and it tells that", said[:200])
before, machines = held(), domains()
streams = [HeldStream(visitors[name]) for name in ("p1", "p2", "p3")]
until(10, lambda: all(stream.updates for stream in streams))
for step, lines in (("a new key is added", [named[1], old_key, new_key]), ("it signs", [named[1], new_key, old_key]),
                    ("the old one is removed", [named[1], new_key])):
    old, log = manager(), Log()
    (SITE / "key").write_text("\n".join(lines) + "\n")
    graceful()
    until(20, lambda: settled(old))
    missing = found(before)
    tap.ok(not missing and domains() == machines and fill() is not None,
           f"{step}: sessions are found, no instance comes or goes", "; ".join(missing))
    # What signs now has signed all that is to be kept: the last step is for a site that runs on.
    until(15, lambda: time.time() * 1e6 - document()["started"] > 8e6)
seen = [stream.updates for stream in streams]
until(5, lambda: all(stream.updates > n or stream.error for stream, n in zip(streams, seen)))
dropped = [stream.error or "no update" for stream, n in zip(streams, seen) if stream.updates <= n]
tap.ok(not dropped and newcomer(time.monotonic()) < PATIENCE,
       "no stream has noticed, and new people get their sessions",
       "; ".join(dropped))
strange = re.findall(r"the value of .* was not written by this site", log.text())
tap.ok(not strange, "nothing that is signed with the old key is met any more", "; ".join(strange))
for stream in streams:
    stream.stop()

# ---- kill -9 of the manager ----

SOON = 5  # seconds; on a machine with nothing else to do it takes less than two, and the figure is printed


def killed(when, kill, most=1):
    """Does `kill`, then proves that a new person is served soon and that nobody and nothing is lost or twofold.
    `most` instances may be new then."""
    fill()
    before, machines = held(), domains()
    kill()
    took = newcomer(time.monotonic())
    tap.ok(took < SOON, f"kill -9 of the manager {when}: a new session soon", "%.2f s" % took)
    missing = found(before)
    tap.ok(not missing, f"kill -9 of the manager {when}: every session is found again", "; ".join(missing))
    took = fill()
    gone, made = machines - domains(), domains() - machines
    tap.ok(took is not None and not gone and len(made) <= most and until(10, settled) is not None,
           f"kill -9 of the manager {when}: nothing is lost or made twice, one manager runs",
           f"{len(gone)} gone, {len(made)} made, managers {managers()}")


def kill_manager():
    os.kill(manager(), signal.SIGKILL)


def kill_then_graceful():
    kill_manager()
    graceful()


def graceful_then_kill():
    old = manager()
    graceful()
    kill9(old)


def graceful_then_kill_the_next():
    old = manager()
    graceful()
    while True:
        following = [pid for pid in managers() if pid != old]
        if following:
            kill9(following[0])
            return


def boot_then_kill():
    """While the place of somebody who has just been served is being filled."""
    newcomer(time.monotonic())
    kill_manager()


def kill_script_daemon():
    """As any script may: it is of the same user. httpd forks the next one from its loop."""
    old = list(script_daemons())[0]
    os.kill(old, signal.SIGKILL)
    return until(10, lambda: [pid for pid in script_daemons() if pid != old])


killed("in the middle", kill_manager)
killed("while instances boot", boot_then_kill, 4)
kill_script_daemon()
descriptors_test("after kill -9 of the manager and of the script daemon")
killed("directly before a graceful", kill_then_graceful)
killed("directly after a graceful", graceful_then_kill)
killed("as soon as a graceful has started it", graceful_then_kill_the_next)

# ---- a manager that ends at once ----
before, machines = held(), domains()
(SITE / "ends").write_text("#!/bin/sh\nexit 70\n")
(SITE / "ends").chmod(0o755)
(SITE / "more/manager.conf").write_text('PersonaManager "${SITE}/ends"\n')
log = Log()
graceful()
time.sleep(1)
worst = {}
end = time.monotonic() + 30
while time.monotonic() < end and log.count("the persona manager .* ended") < 5:
    for path, good in (("/", 302), ("/apps/", 200)):
        began = time.monotonic()
        status = admin.get(path, follow=0).status
        took = time.monotonic() - began if status == good else 99
        worst[path] = max(worst.get(path, 0), took)
    time.sleep(0.2)
tap.ok(worst["/"] < 1 and worst["/apps/"] < 5, "while the manager ends at its start, httpd serves on",
       "at worst " + ", ".join(f"{took:.1f} s for {path}" for path, took in worst.items()))
deaths = re.findall(r"the persona manager .*", log.text())
for line in deaths:
    print("#   " + line)
line_of_log = re.compile(r"\(pid \d+\) ended with status 70; the next one starts (at once|in (\d+) s)")
pauses = [int(line_of_log.search(line)[2] or 0) for line in deaths if line_of_log.search(line)]
tap.ok(pauses == [0, 1, 2, 4, 8] and len(deaths) == 5, "it is tried again with growing pauses, a line of the log each",
       str(pauses))

# ---- kill -9 of httpd while the next manager waits out its pause ----


def leads_a_group(pid):
    """As what becomes a manager does at once."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


parent = pid_of_httpd()
until(10, lambda: [pid for pid in script_daemons() if leads_a_group(pid)])
waiting = [pid for pid in script_daemons() if leads_a_group(pid)]
scripts = [pid for pid in script_daemons() if pid not in waiting]
os.kill(scripts[0], signal.SIGKILL)
until(3, lambda: [pid for pid in script_daemons() if pid not in [*waiting, *scripts]])
orphans = [pid for pid in children(parent) if pid not in waiting]
os.kill(parent, signal.SIGKILL)
tap.ok(len(waiting) == 1 and until(2, lambda: not os.path.exists(f"/proc/{waiting[0]}")) is not None,
       "kill -9 of httpd ends a manager that waits for its start", f"{waiting}")


def httpd_again(orphans):
    """httpd's workers outlive it, and hold its ports."""
    for pid in orphans:
        kill9(pid)
    until(10, lambda: not [pid for pid in orphans if os.path.exists(f"/proc/{pid}")])
    start()


(SITE / "more/manager.conf").unlink()
httpd_again(orphans)
missing = found(before)
tap.ok(not missing and fill() is not None and domains() == machines, "httpd is started again and adopts everything",
       "; ".join(missing))

# ---- kill -9 of httpd ----
old = manager()
graceful()
until(20, lambda: settled(old))
before, machines, old = held(), domains(), manager()
orphans = [pid for pid in children(pid_of_httpd()) if pid != old]
began = time.monotonic()
os.kill(pid_of_httpd(), signal.SIGKILL)
took = until(3, lambda: not os.path.exists(f"/proc/{old}"))
tap.ok(took is not None and not managers(), "kill -9 of httpd, after a graceful: the manager ends too",
       "%.2f s" % (took or -1))
tap.ok(domains() == machines, "and no instance is lost")
httpd_again(orphans)
missing = found(before)
tap.ok(not missing, "httpd is started again: every session is found", "; ".join(missing))
tap.ok(fill() is not None and domains() == machines and until(10, settled) is not None,
       "nothing is made twice, one manager runs")

# ---- gracefuls under streams ----
names = [f"p{1 + i % HELD}" for i in range(STREAMS)]
for name in names[:HELD]:
    visitors[name].began = time.monotonic()
    open_session(visitors[name])
streams = [HeldStream(visitors[name]) for name in names]
until(10, lambda: all(stream.updates for stream in streams))
old = manager()
graceful()  # what the first one leaves for good is not a leak
until(20, lambda: settled(old))
before, machines = held(), domains()
parent = pid_of_httpd()
opened, processes = len(descriptors(parent)), len(children(parent))
killed_too, slowest, clicks, sessions = 0, 0, [], []
for turn in range(GRACEFULS):
    old = manager()
    began = time.monotonic()
    graceful()
    if turn % 5 == 4:
        kill9(old)
        killed_too += 1
    sessions.append(newcomer(time.monotonic(), clicks))
    until(20, lambda: settled(old))
    slowest = max(slowest, time.monotonic() - began)
seen = [stream.updates for stream in streams]
until(5, lambda: all(stream.updates > n or stream.error for stream, n in zip(streams, seen)))
dropped = [stream.error or "no update" for stream, n in zip(streams, seen) if stream.updates <= n]
tap.ok(not dropped, f"{GRACEFULS} gracefuls, {killed_too} with a kill -9: none of {STREAMS} streams notices",
       "; ".join(dropped) or f"{sum(stream.updates for stream in streams)} updates, slowest graceful {slowest:.1f} s")
tap.ok(max(clicks) < 8 and max(sessions) < PATIENCE,
       "each click meanwhile is answered in PersonaTimeout (5 s) and gets its session",
       "answers at worst %.2f s; sessions: median %.2f s, at worst %.2f s" %
       (max(clicks), sorted(sessions)[len(sessions) // 2], max(sessions)))
tap.ok(until(10, settled) is not None and len(managers()) == 1, "one manager is alive", str(managers()))
took = fill()
now = held()
tap.ok(took is not None and machines <= domains() and all(now.get(user) == was for user, was in before.items()),
       "every instance and session is there, one for each click came to it",
       f"{len(machines)} instances before, {len(domains())} after {len(clicks)} clicks")
tap.ok(until(10, lambda: len(descriptors(parent)) <= opened) is not None,
       "httpd's parent has leaked no descriptor", f"{opened} before, {len(descriptors(parent))} after")
tap.ok(until(20, lambda: len(children(parent)) <= processes) is not None, "there are no more processes than before",
       f"{processes} before, {len(children(parent))} after")
zombies = [pid for pid in os.listdir("/proc") if pid.isdigit() and status_of(pid).get("PPid") == str(parent) and
           status_of(pid)["State"].startswith("Z")]
tap.ok(not zombies, "no child of httpd is a zombie", " ".join(zombies))
for stream in streams:
    stream.stop()

# ---- a restart that is not graceful ----
before, machines, old = held(), domains(), manager()
os.kill(pid_of_httpd(), signal.SIGHUP)
until(20, lambda: settled(old))
missing = found(before)
tap.ok(not missing and domains() == machines and settled(), "SIGHUP: sessions are found, one manager runs",
       "; ".join(missing))

# ---- a manager that cannot be started ----
log = Log()
(SITE / "key").chmod(0o644)
kill_manager()
tap.ok(until(10, lambda: log.count("no persona manager is running: PersonaSecretFile")) is not None and not managers(),
       "with a key that others may read no manager is started, and the log says why")
graceful()
time.sleep(1)
tap.ok(until(10, lambda: admin.get("/", follow=0).status == 302) is not None and not managers(),
       "a graceful meanwhile: httpd serves on what needs no manager")
(SITE / "key").chmod(0o600)
took = until(20, manager)
tap.ok(took is not None, "the key is as it should be again: a manager is started", "%.1f s" % (took or -1))
missing = found(before)
tap.ok(not missing and fill() is not None and domains() == machines, "and everything is there", "; ".join(missing))

# ---- files that are wrong ----
good = (SITE / "personas/screen.json").read_text()
before, machines, old = held(), domains(), manager()
(SITE / "personas/broken.json").write_text("{")
(SITE / "personas/screen.json").write_text(good.replace('"cpu": 1', '"cpu": "many"'))
code, said = httpd("-t")
tap.ok(code != 0 and "broken.json:1" in said and "screen.json" in said,
       "httpd -t fails for broken files and names them",
       " | ".join(said.splitlines())[:300])
log = Log()
graceful()
until(20, lambda: settled(old))
tap.ok(until(10, answers) is not None, "a graceful with broken files: every site is up")
tap.ok(newcomer(time.monotonic()) < PATIENCE, "and a persona whose file is broken goes on as it was")
tap.ok(log.count(r"broken\.json:1") and log.count("last good version stays in force"), "the log tells what is wrong")
fill()
before, machines = held(), domains()
took = stop()
tap.ok(took is not None and until(5, lambda: not managers()) is not None, "httpd stops, and its manager with it",
       "%.1f s" % (took or -1))
tap.ok(domains() == machines, "and instances stay")

# ---- configtest, stopped and running ----
CHANGING = re.compile(r"^(logs|cgi/targets)|/persona\.db")


def tree():
    """Files of the site, and what must not change with them."""
    found = {}
    for path in sorted(SITE.rglob("*")):
        name = str(path.relative_to(SITE))
        if not CHANGING.search(name):
            about = path.lstat()
            found[name] = (about.st_mode, about.st_uid, about.st_ino)
    return found


def everybody():
    return sorted(pid for pid in os.listdir("/proc")
                  if pid.isdigit() and status_of(pid).get("Name") in ("apache2", "personad"))


def configtest(when, broken):
    files, processes, machines = tree(), everybody(), domains()
    code, said = httpd("-t")
    changed = {name for name in {*files, *tree()} if files.get(name) != tree().get(name)}
    tap.ok((code != 0) == broken and everybody() == processes and not changed and domains() == machines,
           f"configtest {when} starts nothing and leaves nothing",
           f"status {code}, processes {processes} {everybody()}, {sorted(changed)}")


configtest("while httpd is stopped, with broken files", True)
log = Log()
start()
tap.ok(until(10, answers) is not None, "a boot with broken files: every site is up")
missing = found(before)
tap.ok(not missing, "and sessions are adopted", "; ".join(missing))
tap.ok(newcomer(time.monotonic()) < PATIENCE, "and a persona whose file is broken is served by its last good version")
tap.ok(log.count(r"broken\.json:1"), "the log tells what is wrong")
(SITE / "personas/screen.json").write_text(good)
(SITE / "personas/broken.json").unlink()
fill()
configtest("while httpd runs", False)

# ---- stop and start, and scripts that workers run themselves ----
before, machines = held(), domains()
stop()
(SITE / "more/cgi.conf").write_text((SITE / "more/cgi.conf").read_text().replace("Define CGI cgid", "Define CGI cgi"))
start()
missing = found(before)
tap.ok(not missing and fill() is not None and domains() == machines, "stopped and started: everything is adopted",
       "; ".join(missing))
until(10, lambda: manager() and len(workers()) >= 2)
stream = HeldStream(visitors["p1"])  # so that a worker has everything open that it ever has
until(10, lambda: stream.updates)
scripts_test("mod_cgi")
stream.stop()

# ---- one process for everything ----
before, machines = held(), domains()
stop()
with open(os.environ["PERSONA_LOGS"] + "/debug.log", "w") as output:
    debugged = subprocess.Popen(
        ["bash", "-c", 'site=$1; . "$top_srcdir/t/lib/site.sh"; site_httpd -X', "-", SITE],
        stdin=subprocess.DEVNULL, stdout=output, stderr=output)
until(20, answers)
missing = found(before)
tap.ok(not missing and newcomer(time.monotonic()) < PATIENCE, "httpd -X serves, too", "; ".join(missing))
os.kill(pid_of_httpd(), signal.SIGTERM)
tap.ok(until(10, lambda: debugged.poll() is not None and not managers()) is not None, "and ends with its manager")

text = log_text()
strange = [line for line in text.splitlines()
           if re.search("AddressSanitizer|runtime error|long lost child|Segmentation", line)]
tap.ok(not strange, "no sanitizer has complained, no child is unknown to httpd", " | ".join(strange[:5]))
sys.exit(tap.end())
