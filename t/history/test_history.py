#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The history in PostgreSQL, written by two managers while it is killed, frozen and locked. Prints TAP.

   test_history.py PERSONAD PERSONACTL IMAGES PASSFILE      in t/lib/sandbox, as t/stage/history starts it
"""
import json
import os
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "manager"))
from manager_site import Gateway, Tap, Worker, session, until  # noqa: E402

personad, personactl, images, passfile = sys.argv[1:5]
base = os.environ["TMPDIR"] + "/history"
socket_dir, data, bin_dir = os.environ["PGSOCKET"], os.environ["PGDATA"], os.environ["PGBIN"]
secret = open(passfile).read().strip().split(":")[-1]
READY, CLAIMS = 4, 4
tap = Tap()


def on_error(*what):
    sys.__excepthook__(*what)
    for gateway in (one, two):
        if os.path.exists(gateway.log):
            print("# " + "\n# ".join(open(gateway.log).read().splitlines()[-40:]), flush=True)


sys.excepthook = on_error


def sql(text):
    run = subprocess.run(["psql", "-h", socket_dir, "-U", "persona", "-d", "persona", "-qAtc", text], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if run.returncode:
        raise OSError(run.stderr)
    return run.stdout.strip()


def postgres(*words):
    subprocess.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", bin_dir + "/pg_ctl", "-D", data,
                    *words], cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


def postgres_start():
    postgres("-w", "-t", "30", "-l", data + "/log", "-o", "-k %s -c listen_addresses=" % socket_dir, "start")


def postgres_signal(number):
    """To the server and each of its processes: all in this sandbox are ours."""
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.basename(os.readlink("/proc/%s/exe" % pid)) == "postgres":
                pids.append(int(pid))
        except OSError:
            pass
    for pid in pids:
        os.kill(pid, number)


def write_persona():
    with open(base + "/personas/probe.json", "w") as f:
        json.dump({
            "persona_id": "probe", "app_id": "probe", "application_source": "probe",
            "resource_profile": {"cpu": 1, "memory": "64MiB"},
            "execution_environment": {
                "compute": "lxc", "os_image": "probe", "root": "overlay", "libraries": [],
                "network": {"name": "persona", "isolated": True},
                "stream": {"protocol": "http", "port": 6080, "path": "/"},
                "ready": {"path": "/cgi-bin/env", "timeout": "60s"}},
            "predicted_usage_pattern": {"timezone": "UTC", "hourly": ["low"] * 24},
            "user_role_affinity": [], "auto_scale_rules": [],
            "pool": {"min": READY, "max": 40, "disconnect_timeout": "15m", "idle_timeout": "30m",
                     "max_session": "12h"}}, f)


os.makedirs(base + "/personas")
write_persona()
settings = {
    "directory": base + "/personas", "memcached": "127.0.0.1:11311", "ns": "0123456789ab", "keys": ["5e" * 32],
    "manager_user": os.environ["PERSONA_USER"], "schedule": 1000000, "timeout": 5000000, "log_level": 6,
    "web_uid": os.getuid(), "forecast": "off", "history": 400 * 86400 * 1000000, "database": "pgsql",
    "database_params": "host=%s dbname=persona user=persona passfile=%s" % (socket_dir, passfile),
    "database_chosen": 1,
    "computes": [{"name": "lxc", "provider": "libvirt", "address": "lxc:///system", "options": {"images": images}}]}
one = Gateway("one", personad, base, settings)
two = Gateway("two", personad, base, settings)


def check(**changes):
    run = subprocess.run([personad, "--check", "--settings-fd", "0"], text=True, stderr=subprocess.PIPE,
                         input=json.dumps({**settings, **changes}))
    return run.returncode, run.stderr


tap.ok(check()[0] == 0, "--check is content with this PersonaDatabase", check()[1].strip())
status, said = check(database_params="dbname=persona user=persona passfile=" + os.environ["PGPASSFILE"])
tap.ok(status == 1 and "chown" in said, "--check tells that the manager cannot read the password")


def state(gateway):
    return gateway.status()["history"]


def settled(gateway):
    h = state(gateway)
    return h["state"] == "ok" and h["queued"] == 0


def history(gateway, *arguments):
    run = subprocess.run([personactl, "history", "--json", "--socket", gateway.control, "--limit", "0", *arguments],
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if run.returncode:
        raise OSError(run.stderr)
    return json.loads(run.stdout)


claimed = {}


def claims(gateway, name):
    """So many claims, each by a session that both gateways ask for, and milliseconds of each."""
    times = []
    until(60, lambda: len(gateway.instances("ready")) >= CLAIMS)
    for instance in gateway.instances("ready")[:CLAIMS]:
        n = len(claimed)
        begin = time.perf_counter()
        answer = gateway.ask("assign", instance=instance["instance"], compute="lxc", persona="probe",
                             session=session(n), user="user%d" % n, roles=["engineer"], app="probe", ticket=n,
                             arrived=int(time.time() * 1e6) - 250000, cold=bool(n % 2))
        times.append((time.perf_counter() - begin) * 1000)
        if answer["status"] == "ok":
            claimed[n] = answer["record"]["instance"]
    figures = "p50 %.1f ms, max %.1f ms" % (statistics.median(times), max(times)) if times else "none"
    tap.ok(len(times) == CLAIMS and max(times) < 2000, "%d claims %s" % (CLAIMS, name), figures)
    return times


def visits(gateway, who, count):
    """Milliseconds of each of so many events, which nothing but the queue delays."""
    worker, times = gateway.worker(), []
    for n in range(count):
        begin = time.perf_counter()
        worker.ask("visit", user="%s%d" % (who, n), roles=["student"])
        times.append((time.perf_counter() - begin) * 1000)
    worker.close()
    return times


def figures(times):
    ordered = sorted(times)
    return "p50 %.2f ms, p99 %.2f ms" % (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100])


# ---- two gateways, one history ----
one.start()
two.start()
took = until(60, lambda: settled(one) and settled(two))
tap.ok(took is not None, "two managers make the tables at the same time, and write", "%.1f s" % (took or -1))
tap.ok(state(one)["scope"].startswith("all gateways"), "the status document says whose history it is")
pid = one.child.pid
shown = open("/proc/%d/cmdline" % pid).read() + open("/proc/%d/environ" % pid).read()
tap.ok(secret not in shown and "dbname" not in shown, "neither password nor connection is in the process list")
quick = claims(one, "with the database at work")
base_visits = visits(one, "first", 500)
for n, instance in claimed.items():  # both are asked, and both say yes
    two.ask("assign", instance=instance, compute="lxc", persona="probe", session=session(n), user="user%d" % n,
            roles=[], app="probe")
until(60, lambda: settled(one) and settled(two))
rows = [r for r in history(two, "--persona", "probe") if r["kind"] == "claim"]
tap.ok(len(rows) == CLAIMS and {r["session"] for r in rows} == {session(n)[:12] for n in claimed},
       "each claim is one row, seen from the other gateway", str(len(rows)))
row = next((r for r in rows if r["session"] == session(1)[:12]), {})
tap.ok(row.get("user") == "user1" and row.get("roles") == "engineer" and row.get("instance") == claimed.get(1)
       and row.get("start") == "cold" and row.get("ticket") == 1 and 250 <= row.get("wait_ms", 0) < 60000
       and row.get("compute") == "lxc", "it tells who, what, where, why and how long", json.dumps(row))
kinds = [r["kind"] for r in history(one)]
created = [r for r in history(one, "--persona", "probe") if r["kind"] == "create"]
tap.ok(len(created) >= READY and all(r.get("reason") for r in created),
       "each creation has its reason", created[0].get("reason", "") if created else "")
tap.ok(kinds.count("signin") == 500 and kinds.count("ready") >= READY, "visits and boots are there")
tap.ok(sql("SELECT count(DISTINCT gateway), count(*) FROM persona_gateways") == "2|2", "each row names its gateway")
tap.ok(int(sql("SELECT sum(claims) FROM persona_hours")) == CLAIMS, "the sums count each claim once")

# ---- killed ----
postgres("-m", "immediate", "stop")
slow = claims(one, "with PostgreSQL killed")
times = visits(one, "second", 500)
took = until(60, lambda: state(one)["state"] == "down")
tap.ok(took is not None and state(one)["lost"] == 0, "it is known to be down, and nothing is lost",
       state(one).get("problem", ""))
time.sleep(3)
tap.ok(open(one.log).read().count("the history cannot be written") == 1, "the log says so once")
postgres_start()
took = until(60, lambda: settled(one) and settled(two))
tap.ok(took is not None, "started again, it is written again", "%.1f s" % (took or -1))
tap.ok(int(sql("SELECT count(*) FROM persona_events WHERE kind = 'claim'")) == len(claimed)
       and int(sql("SELECT count(*) FROM persona_events WHERE username LIKE 'second%'")) == 500,
       "and all that happened meanwhile is there")

# ---- frozen ----
postgres_signal(signal.SIGSTOP)
frozen = claims(one, "with PostgreSQL frozen")
times = visits(one, "third", 2000)
tap.ok(max(times) < 2000, "2000 events are taken while it is frozen", "%s; at work: %s" % (figures(times),
                                                                                       figures(base_visits)))
print("# claims p50: at work %.1f ms, killed %.1f ms, frozen %.1f ms" % tuple(
    statistics.median(t or [0]) for t in (quick, slow, frozen)), flush=True)
reader = Worker(one.control, timeout=60)
reader.send({"op": "history"})
time.sleep(0.5)
answer = one.administrator("history")
tap.ok(answer["status"] == "no" and "somebody else" in answer["reason"], "who reads it holds up nobody but the next",
       json.dumps(answer))
answer = reader.receive()
tap.ok(answer["status"] == "no" and "cannot be read" in answer["reason"], "and is told before long",
       answer.get("reason", ""))
reader.close()
took = until(30, lambda: state(one)["state"] == "down")
tap.ok(took is not None and "does not answer" in state(one)["problem"], "its silence is noticed",
       "%.1f s" % (took or -1))
tap.ok(until(15, lambda: "has not answered for" in open(one.log).read()) is not None, "and the log tells")
postgres_signal(signal.SIGCONT)
took = until(60, lambda: settled(one) and settled(two))
tap.ok(took is not None and state(one)["lost"] == 0, "once it goes on, all is written", "%.1f s" % (took or -1))
tap.ok(int(sql("SELECT count(*) FROM persona_events WHERE username LIKE 'third%'")) == 2000
       and int(sql("SELECT count(*) FROM persona_events WHERE kind = 'claim'")) == len(claimed),
       "and nothing twice")

# ---- locked ----
locker = subprocess.Popen(["psql", "-h", socket_dir, "-U", "persona", "-d", "persona", "-qAtc",
                           "BEGIN; LOCK TABLE persona_events; SELECT pg_sleep(3); COMMIT"], stdout=subprocess.DEVNULL)
until(10, lambda: sql("SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = "
                      "'persona_events' AND l.mode = 'AccessExclusiveLock'") == "1")
times = visits(two, "fourth", 200)
tap.ok(max(times) < 2000, "200 events are taken while a table is locked", figures(times))
locker.wait(60)
until(60, lambda: settled(two))
tap.ok(int(sql("SELECT count(*) FROM persona_events WHERE username LIKE 'fourth%'")) == 200, "and then written")

# ---- its end ----
answer = one.administrator("end", session=session(0), reason="enough")
took = until(30, lambda: [r for r in history(two, "--instance", claimed[0]) if r["kind"] == "end"])
ends = [r for r in history(two, "--instance", claimed[0]) if r["kind"] in ("end", "retire")]
tap.ok(took is not None and all(r["reason"] == "enough" for r in ends), "the end of a session has its reason",
       json.dumps(ends))
out = subprocess.run([personactl, "history", "--socket", one.control, "--user", "user0"], text=True,
                     stdout=subprocess.PIPE).stdout
tap.ok("claim" in out and "end" in out and "enough" in out and "user1" not in out,
       "personactl tells one user's history")
out = subprocess.run([personactl, "history", "--socket", one.control, "--hours"], text=True,
                     stdout=subprocess.PIPE).stdout
tap.ok("probe" in out, "and the sums by hour")
postgres_signal(signal.SIGSTOP)
visits(two, "fifth", 10)
seconds, status = two.stop(signal.SIGTERM)
tap.ok(status == 0 and seconds < 8, "a frozen database does not keep a manager from stopping", "%.1f s" % seconds)
tap.ok("did not get into the history" in open(two.log).read(), "and what was not written is told")
postgres_signal(signal.SIGCONT)
two.start(database="sqlite3", database_params=two.dir + "/state/persona.db")
took = until(60, lambda: settled(two))
tap.ok(took is not None and state(two)["scope"] == "this gateway's only"
       and "it is this gateway's only" in open(two.log).read(), "a local file is this gateway's only, and says so")

two.stop(signal.SIGTERM)
one.stop(signal.SIGTERM)
postgres("-m", "fast", "stop")
for name in subprocess.check_output(["virsh", "-q", "-c", "lxc:///", "list", "--name"], text=True).split():
    subprocess.run(["virsh", "-q", "-c", "lxc:///", "destroy", name], check=False)
log = open(one.log).read() + open(two.log).read()
tap.ok("AddressSanitizer" not in log and "runtime error" not in log, "no sanitizer has complained")
if tap.failed or "PERSONA_TEST_LOG" in os.environ:
    print("# " + "\n# ".join(log.splitlines()))
sys.exit(tap.end())
