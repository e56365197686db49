# SPDX-License-Identifier: Apache-2.0
"""What httpd does for personad, done by a test: sockets, lifeline, settings on a descriptor, and a worker's IPC."""
import hashlib
import hmac
import json
import os
import socket
import struct
import subprocess
import threading
import time


class Worker:
    """One connection of a web worker (with the secret), or of personactl (without)."""

    def __init__(self, path, secret=None, timeout=10):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(path)
        hello = self.receive()
        answer = {"version": max(hello["versions"])}
        if secret is not None:
            answer["mac"] = hmac.new(secret.encode(), hello["nonce"].encode(), hashlib.sha256).hexdigest()
        self.send(answer)

    def send(self, message):
        data = json.dumps(message).encode()
        self.s.sendall(struct.pack(">I", len(data)) + data)

    def receive(self):
        size = struct.unpack(">I", self.exactly(4))[0]
        return json.loads(self.exactly(size))

    def exactly(self, n):
        data = b""
        while len(data) < n:
            chunk = self.s.recv(n - len(data))
            if not chunk:
                raise ConnectionError("closed")
            data += chunk
        return data

    def ask(self, op, **members):
        self.send({"op": op, **members})
        return self.receive()

    def close(self):
        self.s.close()


class Gateway:
    """One httpd: its sockets outlive its managers."""

    def __init__(self, name, personad, base, settings):
        self.name, self.personad = name, personad
        self.dir = os.path.join(base, name)
        os.makedirs(self.dir)
        self.path, self.control = self.dir + "/persona.sock", self.dir + "/persona.sock.control"
        self.listeners = [self.listen(self.path), self.listen(self.control)]
        self.log = self.dir + "/error.log"
        self.secret = os.urandom(32).hex()
        self.settings = {**settings, "secret": self.secret, "gateway_id": os.urandom(16).hex(),
                         "state_dir": self.dir + "/state", "control": self.control}
        self.child = self.lifeline = None

    @staticmethod
    def listen(path):
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen(64)
        return s

    def start(self, *arguments, settings=None, **changes):
        reading, self.lifeline = os.pipe()
        document = settings if settings is not None else json.dumps({
            **self.settings, "listen_fd": self.listeners[0].fileno(), "control_fd": self.listeners[1].fileno(),
            "lifeline_fd": reading, **changes})
        fd = os.memfd_create("settings", 0)
        os.write(fd, document.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        stray = os.open("/dev/null", os.O_RDONLY)  # something of httpd's that must not stay open
        os.set_inheritable(fd, True)
        keep = [fd, reading, stray] + [s.fileno() for s in self.listeners]
        with open(self.log, "a") as log:
            self.child = subprocess.Popen([self.personad, "--settings-fd", str(fd), *arguments], pass_fds=keep,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for unused in (fd, reading, stray):
            os.close(unused)
        return self.child.pid

    def stop(self, signal):
        """Seconds until it was gone, and its exit status."""
        begin = time.monotonic()
        self.child.send_signal(signal)
        status = self.child.wait(15)
        os.close(self.lifeline)
        return time.monotonic() - begin, status

    def worker(self, timeout=10):
        return Worker(self.path, self.secret, timeout)

    def ask(self, op, **members):
        worker = self.worker()
        try:
            return worker.ask(op, **members)
        finally:
            worker.close()

    def administrator(self, op, **members):
        worker = Worker(self.control)
        try:
            return worker.ask(op, **members)
        finally:
            worker.close()

    def status(self):
        return self.administrator("status")

    def instances(self, state):
        return [i for i in self.status()["instances"] if i["state"] == state]

    def assign(self, instance, session, user="ada", worker=None, persona="probe"):
        return (worker or self).ask("assign", instance=instance["instance"], compute=instance["compute"],
                                    persona=persona, session=session, user=user, roles=["engineer"], app="probe")

    def heartbeats(self, session, instance):
        """As a gateway child with one open stream, until the returned event is set."""
        stop = threading.Event()

        def beat():
            while not stop.is_set():
                try:
                    self.ask("attach", session=session, instance=instance, streams=1,
                             last_input=int(time.time() * 1e6))
                except (OSError, ConnectionError):
                    pass
                stop.wait(3)

        threading.Thread(target=beat, daemon=True).start()
        return stop


def until(seconds, condition):
    """The seconds it took until `condition` was true, or None. What it raises counts as not yet."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        try:
            if condition():
                return time.monotonic() - begin
        except (OSError, ConnectionError, KeyError, IndexError):
            pass
        time.sleep(0.05)
    return None


def session(n):
    return hashlib.sha256(b"session %d" % n).hexdigest()


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, detail=""):
        self.count += 1
        self.failed += not good
        print("%sok %d - %s%s" % ("" if good else "not ", self.count, name, " (%s)" % detail if detail else ""),
              flush=True)
        return good

    def end(self):
        print("1..%d" % self.count, flush=True)
        return 1 if self.failed else 0
