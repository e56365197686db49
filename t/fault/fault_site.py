# SPDX-License-Identifier: Apache-2.0
"""What the fault suite runs and breaks: gateways (an httpd with its manager each), memcacheds, libvirtd, instances."""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.parse

from manager_site import until

PREFIX = pathlib.Path(os.environ["PERSONA_PREFIX"])
TOP = pathlib.Path(os.environ["top_srcdir"])
LOGS = pathlib.Path(os.environ["PERSONA_LOGS"])
PASSWORD = "secret"
APP = "/apps/marker/"


def send(pid, number):
    """Whether there was such a process."""
    try:
        os.kill(pid, number)
        return True
    except (ProcessLookupError, TypeError):
        return False


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(parent):
    """pid: name, of every child that is no zombie."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                name, _, rest = pathlib.Path(f"/proc/{entry}/stat").read_text().partition(" (")[2].rpartition(")")
            except OSError:
                continue
            if rest.split()[0] != "Z" and rest.split()[1] == str(parent):
                found[int(entry)] = name
    return found


class Memcached:
    def __init__(self, port, megabytes=64):
        self.port, self.megabytes, self.child = port, megabytes, None

    def start(self):
        self.child = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-m",
                                       str(self.megabytes), "-I", "512k", "-U", "0"], stdin=subprocess.DEVNULL)
        if until(10, lambda: self.ask("version")) is None:
            raise SystemExit("Bail out! memcached does not start")

    def ask(self, command, end=b"\r\n"):
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(command.encode() + b"\r\n")
            answer = b""
            while not answer.endswith(end):
                data = connection.recv(65536)
                if not data:
                    break
                answer += data
        return answer.decode("latin-1")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def keys(self):
        """Every key that it has now: the crawler tells all of them."""
        dump = self.ask("lru_crawler metadump all", b"END\r\n")
        return [urllib.parse.unquote(line.split("key=")[1].split()[0])
                for line in dump.splitlines() if line.startswith("key=")]

    def value(self, key):
        answer = self.ask(f"get {key}", b"END\r\n")
        return answer.split("\r\n")[1] if answer.startswith("VALUE") else None

    def put(self, values):
        """Sets each key to its value; no answer is waited for."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            for key, value in values.items():
                connection.sendall(f"set {key} 0 0 {len(value)} noreply\r\n{value}\r\n".encode("latin-1"))
            connection.sendall(b"version\r\n")
            connection.recv(100)

    def everything(self):
        """key: value, of all that it has now."""
        found = {key: self.value(key) for key in self.keys()}
        return {key: value for key, value in found.items() if value is not None}

    def evictions(self):
        return int(re.search(r"STAT evictions (\d+)", self.ask("stats", b"END\r\n"))[1])


class Libvirtd:
    def pid(self):
        return int(pathlib.Path("/run/libvirtd.pid").read_text())

    def kill(self):
        pid = self.pid()
        send(pid, signal.SIGKILL)
        until(10, lambda: not alive(pid))

    def start(self):
        pathlib.Path("/run/libvirtd.pid").unlink(missing_ok=True)
        subprocess.run(["libvirtd", "-d"], check=True)

    def stop(self):
        send(self.pid(), signal.SIGSTOP)

    def go_on(self):
        send(self.pid(), signal.SIGCONT)

    @staticmethod
    def ask(*arguments):
        return subprocess.run(["virsh", "-q", "-c", "lxc:///system", *arguments], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=60).stdout

    def instances(self):
        return {name[8:] for name in self.ask("list", "--all", "--name").split() if name.startswith("persona-")}

    def secrets(self):
        """Fences, intents and addresses that this site has."""
        return [line.split()[2] for line in self.ask("secret-list").splitlines() if " persona" in line]

    def process_of(self, instance):
        """The first process of a container, as the host sees it."""
        for pid, name in ((int(e), e) for e in os.listdir("/proc") if e.isdigit()):
            try:
                line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if line[0].endswith(b"libvirt_lxc") and f"persona-{instance}".encode() in line:
                inside = children(pid)
                return next(iter(inside), None)
        return None


class Gateway:
    """One httpd with its manager, in a folder of its own; what all gateways share is in SITE/shared."""

    def __init__(self, name, port, site, images, memcached):
        self.name, self.port, self.site, self.images = name, port, site, images
        self.folder = site / name
        self.address = ("127.0.0.1", port)
        self.memcached = memcached
        for part in ("run", "logs", "state"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        subprocess.run(["chown", "persona:", self.folder / "state"], check=True)
        (self.folder / "state").chmod(0o700)
        self.configure()

    def configure(self):
        defines = {"GATEWAY": self.folder, "SHARED": self.site / "shared", "PREFIX": PREFIX,
                   "LISTEN": f"127.0.0.1:{self.port}", "MEMCACHED": f"127.0.0.1:{self.memcached.port}",
                   "IMAGES": self.images}
        (self.folder / "httpd.conf").write_text(
            "".join(f"Define {name} {value}\n" for name, value in defines.items()) +
            f"Include {TOP}/t/fault/httpd.conf\n")

    def httpd(self, *arguments):
        command = 'site=$1; shift; . "$top_srcdir/t/lib/site.sh"; site_httpd "$@"'
        done = subprocess.run(["bash", "-c", command, "-", self.folder, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def start(self):
        end = time.monotonic() + 30
        code, said = self.httpd("-k", "start")
        # The children of a parent that was killed leave its port when they notice.
        while code and time.monotonic() < end:
            time.sleep(0.2)
            code, said = self.httpd("-k", "start")
        if code or until(30, self.answers) is None:
            raise SystemExit(f"Bail out! httpd {self.name} does not start: {said}")

    def answers(self):
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request("GET", "/apps/", headers={"Authorization": authorization("p1")})
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def pid(self):
        try:
            return int((self.folder / "run/httpd.pid").read_text())
        except (OSError, ValueError):
            return None

    def manager(self):
        """The personad of this httpd; None while there is none or more than one."""
        found = [pid for pid, name in children(self.pid()).items() if name == "personad"]
        return found[0] if len(found) == 1 else None

    def workers(self):
        return [pid for pid, name in children(self.pid()).items() if name == "apache2"]

    def graceful(self):
        send(self.pid(), signal.SIGUSR1)

    def kill(self):
        """httpd with all its processes, as when the machine's power fails."""
        pids = [self.pid(), *children(self.pid())]
        for pid in pids:
            send(pid, signal.SIGKILL)
        until(10, lambda: not any(alive(pid) for pid in pids))
        (self.folder / "run/httpd.pid").unlink(missing_ok=True)

    def log(self):
        try:
            return (self.folder / "logs/error.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def tool(self, *arguments):
        done = subprocess.run([PREFIX / "bin/personactl", *arguments, "--socket",
                               self.folder / "run/persona.sock.control"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def plans(self):
        code, said = self.tool("status", "--json")
        return code == 0 and json.loads(said)["personas"][0]["planner"]

    def audit(self):
        """Whether every promise holds, and what it says."""
        code, said = self.tool("audit", "--json")
        try:
            return code == 0, json.loads(said)
        except ValueError:
            return False, {"said": said}


class Balancer:
    """An httpd as docs/reference.md says, before these gateways."""

    def __init__(self, port, site, gateways):
        self.folder, self.address = site / "balancer", f"127.0.0.1:{port}"
        (self.folder / "run").mkdir(parents=True)
        (self.folder / "logs").mkdir()
        block = re.search(r"^# the balancer\n(.*?)^# every gateway", (TOP / "docs/reference.md").read_text(),
                          re.M | re.S)[1]
        members = re.findall(r"10\.0\.0\.\d+", block)
        for member, one in zip(members, gateways):
            block = block.replace(member, "%s:%d" % one.address)
        modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "slotmem_shm", "lbmethod_byrequests",
                   "proxy_balancer"]
        (self.folder / "httpd.conf").write_text(
            f"ServerRoot {self.folder}\nDefaultRuntimeDir run\nPidFile run/httpd.pid\nServerName localhost\n"
            f"Listen {self.address}\nUser www-data\nGroup www-data\nErrorLog logs/error.log\n" +
            "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules) + block)

    def control(self, what):
        return subprocess.run(["/usr/sbin/apache2", "-f", self.folder / "httpd.conf", "-k", what],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True).stdout


class Faults:
    """The points of mod_persona/persona/fault.h."""

    def __init__(self):
        self.folder = pathlib.Path(os.environ["PERSONA_FAULTS"])
        header = (TOP / "mod_persona/persona/fault.h").read_text()
        self.kinds = {name: kind for kind, name in re.findall(r"^ *(STEP|CALL)\((\w+), \"", header, re.M)}

    def calls(self):
        return [name for name, kind in self.kinds.items() if kind == "CALL"]

    def arm(self, name, word):
        new = self.folder / f".{name}"
        new.write_text(word)
        new.chmod(0o666)
        new.rename(self.folder / name)

    def armed(self, name):
        return (self.folder / name).exists()

    def disarm(self):
        """Names of those that nobody came by."""
        left = [name for name in self.kinds if self.armed(name)]
        for name in left:
            (self.folder / name).unlink(missing_ok=True)
        return left


def authorization(user):
    return "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


def sign_in_file(path, names):
    """Who may sign in, for AuthUserFile."""
    hashed = "{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    path.write_text("".join(f"{name}:{hashed}\n" for name in names))
