#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""personad for real: libvirt's containers, memcached, kill -9, frozen and restarted daemons. Prints TAP.

   test_manager.py PERSONAD PERSONACTL IMAGES      in t/lib/sandbox, as t/stage/manager starts it
"""
import json
import os
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from manager_site import Gateway, Tap, Worker, session, until  # noqa: E402

personad, personactl, images = sys.argv[1:4]
base = os.environ["TMPDIR"] + "/manager"
user = os.environ["PERSONA_USER"]
READY = 6
tap = Tap()


def on_error(*what):
    sys.__excepthook__(*what)
    for gateway in (one, two):
        if os.path.exists(gateway.log):
            print("# " + "\n# ".join(open(gateway.log).read().splitlines()[-40:]), flush=True)


sys.excepthook = on_error


def shell(command, check=True):
    return subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=check).stdout


def pid_of(name):
    return int(open("/run/libvirtd.pid" if name == "libvirtd" else os.environ["TMPDIR"] + "/memcached.pid").read())


def libvirt_again():
    os.kill(pid_of("libvirtd"), signal.SIGKILL)
    until(10, lambda: not os.path.exists("/proc/%d" % pid_of("libvirtd")))
    shell("rm -f /run/libvirtd.pid; libvirtd -d")


def fences():
    return shell("virsh -q -c lxc:///system secret-list").count(" persona:")


def domains():
    return shell("virsh -q -c lxc:///system list --all --name").split()


def write_persona(minimum, maximum):
    document = {
        "persona_id": "probe", "app_id": "probe", "application_source": "probe",
        "resource_profile": {"cpu": 1, "memory": "64MiB"},
        "execution_environment": {
            "compute": "lxc", "os_image": "probe", "root": "overlay", "libraries": [],
            "network": {"name": "persona", "isolated": True},
            "stream": {"protocol": "http", "port": 6080, "path": "/"},
            "ready": {"path": "/cgi-bin/env", "timeout": "60s"}},
        "predicted_usage_pattern": {"timezone": "UTC", "hourly": ["low"] * 24},
        "user_role_affinity": [], "auto_scale_rules": [],
        "pool": {"min": minimum, "max": maximum, "disconnect_timeout": "15m", "idle_timeout": "30m",
                 "max_session": "12h"}}
    with open(base + "/personas/probe.json.new", "w") as f:
        json.dump(document, f)
    os.rename(base + "/personas/probe.json.new", base + "/personas/probe.json")


os.makedirs(base + "/personas")
write_persona(READY, 20)
settings = {
    "directory": base + "/personas", "memcached": "127.0.0.1:11311", "ns": "0123456789ab",
    "keys": ["5e" * 32], "manager_user": user, "schedule": 5000000, "timeout": 5000000, "log_level": 6,
    "web_uid": os.getuid(), "forecast": "shadow",
    "computes": [{"name": "lxc", "provider": "libvirt", "address": "lxc:///system", "options": {"images": images}}]}
one = Gateway("one", personad, base, settings)
two = Gateway("two", personad, base, settings)

# ---- what it refuses ----
one.start(settings="{")
tap.ok(one.child.wait(10) == 65, "settings that are not JSON: exit status 65")
one.start(manager_user="no-such-user")
tap.ok(one.child.wait(10) == 66, "a user that does not exist: exit status 66")
check = subprocess.run([personad, "--check", "--settings-fd", "0"], text=True, stderr=subprocess.PIPE,
                       input=json.dumps({**settings, "computes": [{"name": "x", "provider": "libvrt"}]}))
tap.ok(check.returncode == 1 and "no provider" in check.stderr and "PersonaCompute" in check.stderr,
       "--check names what is wrong with computes and personas")
check = subprocess.run([personad, "--check", "--settings-fd", "0"], text=True, stderr=subprocess.PIPE,
                       input=json.dumps(settings))
tap.ok(check.returncode == 0, "--check is content with this site", check.stderr.strip())

# ---- the process ----
pid = one.start()
took = until(10, lambda: one.status()["status"] == "ok")
tap.ok(took is not None, "it answers on its control socket", "%.2f s" % (took or -1))
lines = dict(line.split(":\t", 1) for line in open("/proc/%d/status" % pid).read().splitlines() if ":\t" in line)
uid = int(shell("id -u " + user))
tap.ok(lines["Uid"].split() == [str(uid)] * 4 and lines["CapEff"].strip("0") == "" and lines["NoNewPrivs"] == "1",
       "it has its own user for good, no capability and NO_NEW_PRIVS")
tap.ok(lines["Umask"] == "0077" and int(lines["SigIgn"], 16) == 1 << (signal.SIGPIPE - 1),
       "umask 077; no signal is ignored but SIGPIPE")
tap.ok(os.stat("/proc/%d/mem" % pid).st_uid == 0, "it is not dumpable")
opened = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid) if int(fd) > 2]
tap.ok(not [f for f in opened if f.startswith("/dev/null") or "settings" in f],
       "nothing of httpd's is open but the three descriptors")
for wrong in ("00" * 32, ""):
    try:
        answer = Worker(one.path, wrong).ask("find", session=session(1))
    except (ConnectionError, OSError):
        answer = None
    tap.ok(answer is None, "a wrong secret is closed without a word")

# ---- the pool ----
took = until(60, lambda: len(one.instances("ready")) == READY)
tap.ok(took is not None, "the pool fills to pool.min", "%.1f s" % (took or -1))
tap.ok(len(domains()) == READY, "one container for each")

# ---- claims ----
held, times = {}, []
connection = one.worker()
for n, instance in enumerate(one.instances("ready")[:5]):
    begin = time.perf_counter()
    answer = one.assign(instance, session(n), worker=connection)
    times.append((time.perf_counter() - begin) * 1000)
    held[n] = answer["record"]["instance"] if answer["status"] == "ok" else None
tap.ok(all(held.values()) and len(set(held.values())) == 5, "five sessions get five instances",
       "assign p50 %.1f ms, max %.1f ms" % (statistics.median(times), max(times)))
victim = one.instances("assigned")[0]
tap.ok(one.assign(victim, session(99))["status"] == "no", "an assigned instance is nobody else's")
took = until(60, lambda: len(one.instances("ready")) == READY)
tap.ok(took is not None, "the pool is filled up again", "%.1f s" % (took or -1))
beats = [one.heartbeats(session(n), held[n]) for n in held]


def audit(gateway, name):
    said = []

    def kept():
        run = subprocess.run([personactl, "audit", "--socket", gateway.control], text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        said.append(run.stdout.strip())
        return run.returncode == 0

    # What a fault left is mended within two ticks.
    tap.ok(until(12, kept) is not None, name, said[-1])


def all_found(gateway):
    return all(gateway.ask("find", session=session(n)).get("record", {}).get("instance") == held[n] for n in held)


audit(one, "the audit finds every promise kept")

# ---- kill -9 ----
one.stop(signal.SIGKILL)
one.start()
begin = time.monotonic()
took = until(10, lambda: all_found(one))
tap.ok(took is not None and took < 2, "after kill -9 every session has its instance again", "%.2f s" % (took or -1))
time.sleep(6)
tap.ok(len(domains()) == READY + len(held), "and nothing was made twice", str(len(domains())))

# ---- memcached ----
os.kill(pid_of("memcached"), signal.SIGSTOP)
worst = 0
for n in range(20):
    begin = time.monotonic()
    one.ask("find", session=session(n % 5))
    worst = max(worst, time.monotonic() - begin)
    time.sleep(0.1)
tap.ok(worst < 1, "with memcached frozen sessions are found", "at worst %.0f ms" % (worst * 1000))
begin = time.monotonic()
answer = one.ask("claim", persona="probe", session=session(5), user="eve", roles=[], app="probe")
tap.ok(answer["status"] == "ok" and time.monotonic() - begin < 2.5, "and claims are served by the manager",
       "%.0f ms" % ((time.monotonic() - begin) * 1000))
held[5] = answer.get("record", {}).get("instance")
beats.append(one.heartbeats(session(5), held[5]))
took = until(60, lambda: len(one.instances("ready")) == READY)
tap.ok(took is not None, "and the pool is filled", "%.1f s" % (took or -1))
os.kill(pid_of("memcached"), signal.SIGCONT)
shell("printf 'flush_all\\r\\nquit\\r\\n' | busybox nc 127.0.0.1 11311")
took = until(15, lambda: int(shell("printf 'stats\\r\\nquit\\r\\n' | busybox nc 127.0.0.1 11311 | grep curr_items")
                             .split()[2]) >= len(held) + READY)
tap.ok(took is not None, "after a flush the index is filled again", "%.1f s" % (took or -1))

audit(one, "and the audit nothing")

# ---- libvirtd ----
libvirt_again()
took = until(20, lambda: all_found(one) and len(one.instances("ready")) == READY
             and one.status()["computes"][0]["up"])
tap.ok(took is not None, "libvirtd killed and started: everything is there", "%.1f s" % (took or -1))
tap.ok(one.assign(one.instances("assigned")[0], session(98))["status"] == "no", "and the fences still hold")
os.kill(pid_of("libvirtd"), signal.SIGSTOP)
instance = one.instances("ready")[0]
begin = time.monotonic()
answer = one.assign(instance, session(6))
tap.ok(answer["status"] in ("unknown", "no") and time.monotonic() - begin < 2.5,
       "with libvirtd frozen assign says so in time", "%s, %.1f s" % (answer["status"], time.monotonic() - begin))
begin = time.monotonic()
found = all_found(one)
tap.ok(found and time.monotonic() - begin < 1, "and sessions are found all the same")
took = until(20, lambda: not one.status()["computes"][0]["up"])
begin = time.monotonic()
other = one.assign(one.instances("ready")[1], session(7))
tap.ok(took is not None and other["status"] == "no" and time.monotonic() - begin < 0.2,
       "then it is known to be down, and nobody waits for it")
os.kill(pid_of("libvirtd"), signal.SIGCONT)


def settled():
    return one.assign(instance, session(6))["status"] in ("ok", "no")


took = until(60, settled)
tap.ok(took is not None, "once it goes on the same question is answered", "%.1f s" % (took or -1))
answer = one.ask("find", session=session(6))
if answer["status"] == "ok":
    held[6] = answer["record"]["instance"]
    beats.append(one.heartbeats(session(6), held[6]))
took = until(60, lambda: all_found(one) and len(one.instances("ready")) == READY)
tap.ok(took is not None, "and the pool is whole", "%.1f s" % (took or -1))

audit(one, "and every promise is kept")

# ---- instances ----
dead = one.instances("ready")[0]["instance"]
name = [d for d in domains() if dead in d or dead[:8] in d]
shell("virsh -q -c lxc:///system destroy %s" % (name[0] if name else dead))
took = until(30, lambda: dead not in [i["instance"] for i in one.status()["instances"]]
             and len(one.instances("ready")) == READY)
tap.ok(took is not None, "one that dies while it is ready is replaced", "%.1f s" % (took or -1))

# ---- two gateways ----
two.start()
took = until(10, lambda: all_found(two))
tap.ok(took is not None, "a second gateway's manager finds every session", "%.2f s" % (took or -1))
time.sleep(6)
tap.ok(len(domains()) == READY + len(held), "and makes nothing of its own", str(len(domains())))
planner = one if one.status()["personas"][0]["planner"] else two
other = two if planner is one else one
planner.stop(signal.SIGKILL)
took = until(10, lambda: other.status()["personas"][0]["planner"])
tap.ok(took is not None and took < 5, "the planner's death is made good by the other", "%.1f s" % (took or -1))
planner.start()
until(10, lambda: planner.status()["computes"][0]["up"])

audit(one, "one gateway's audit finds every promise kept")
audit(two, "and so does the other's")

# ---- the end of a session ----
answer = one.ask("end", session=session(0), user="ada", reason="ended by its user")
tap.ok(answer["status"] == "ok" and one.ask("find", session=session(0)).get("ended") == "ended by its user",
       "a session ends, and says why")
took = until(10, lambda: two.ask("find", session=session(0))["status"] == "none")
tap.ok(took is not None, "the other gateway knows it too", "%.1f s" % (took or -1))
gone = held.pop(0)
beats.pop(0).set()
until(10, lambda: [i for i in one.instances("retiring") if i["instance"] == gone])
began = time.monotonic()
took = until(90, lambda: not [i for i in one.status()["instances"] if i["instance"] == gone])
tap.ok(took is not None and took > 50, "its instance is kept until the lease is over, then gone",
       "%.0f s" % (took or -1))
took = until(20, lambda: fences() == len(held))
tap.ok(took is not None, "and its fence with it", "%d fences" % fences())

# ---- personactl ----
out = shell("%s status --socket %s" % (personactl, one.control))
tap.ok("probe" in out and "lxc" in out, "personactl status shows pools and computes")
out = shell("%s sessions --socket %s" % (personactl, one.control))
tap.ok(session(1)[:12] in out and "ada" in out, "personactl sessions shows who has what")
out = shell("%s explain probe --socket %s" % (personactl, one.control))
tap.ok("by the pattern" in out and "until an instance is ready" in out and "one more would be worth" in out,
       "personactl explain tells why a pool is as large as it is")
with open(base + "/personas/broken.json", "w") as f:
    f.write("{")
out = shell("%s reload --socket %s" % (personactl, one.control), check=False)
tap.ok("broken.json:1" in out and "1 personas are in force" in out, "personactl reload tells what is wrong")
os.unlink(base + "/personas/broken.json")
shell("%s reload --socket %s" % (personactl, one.control))
tap.ok("nobody" in shell("setpriv --reuid=nobody --clear-groups %s status --socket %s || echo nobody"
                         % (personactl, one.control)), "nobody else gets an answer from it")

# ---- stopping ----
two.stop(signal.SIGTERM)
seconds, status = one.stop(signal.SIGTERM)
tap.ok(status == 0 and seconds < 2, "SIGTERM stops it at once", "status %d, %.2f s" % (status, seconds))
tap.ok(len(domains()) >= READY, "and instances stay")
one.start()
until(10, lambda: one.status())
os.close(one.lifeline)
took = until(10, lambda: one.child.poll() is not None)
tap.ok(took is not None and one.child.returncode == 0, "it ends when httpd does", "%.2f s" % (took or -1))
one.start("--delay", "3")
time.sleep(1)
os.close(one.lifeline)
tap.ok(until(2, lambda: one.child.poll() is not None) is not None, "also while it waits before its start")

# ---- empty ----
one.start()
until(10, lambda: all_found(one))
for beat in beats:
    beat.set()
shell("%s drain --all --socket %s" % (personactl, one.control))
took = until(120, lambda: not one.status()["instances"])
tap.ok(took is not None, "drain --all empties", "%.0f s" % (took or -1))
tap.ok(not domains() and not fences(), "and leaves neither container nor fence",
       "%d containers, %d fences" % (len(domains()), fences()))
one.stop(signal.SIGTERM)
log = open(one.log).read() + open(two.log).read()
tap.ok("AddressSanitizer" not in log and "runtime error" not in log, "no sanitizer has complained")
if tap.failed or "PERSONA_TEST_LOG" in os.environ:
    print("# " + "\n# ".join(log.splitlines()))
sys.exit(tap.end())
