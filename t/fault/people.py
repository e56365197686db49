# SPDX-License-Identifier: Apache-2.0
"""People who use the gateways all the time: they sign in, get a desktop, leave a mark in it, look at it again and
again, end their session, and come back later. Each request goes to any of the gateways, as behind a balancer, and to
another one when that does not answer."""
import http.client
import random
import re
import threading
import time

import gateway
from fault_site import APP, PASSWORD

HOST = "desk.example.org"
TROUBLE = (OSError, http.client.HTTPException, gateway.Refused, ValueError)
ANSWER = re.compile(r"([0-9a-f]{16}) (\S+)\n$")
PATIENCE = 60  # seconds without an answer of one's own desktop


class World:
    """What all of them saw. `lock` guards everything."""

    def __init__(self, gateways):
        self.gateways, self.lock = gateways, threading.Lock()
        self.owners = {}      # boot of an instance: the one user who was there
        self.violations, self.lost, self.returned, self.stuck = [], [], [], []
        self.claims = []      # (when, gateway, user, seconds)
        self.slowest = 0.0
        self.doomed = set()   # instances that a test destroys on purpose
        self.stopping = threading.Event()

    def note(self, where, text):
        with self.lock:
            where.append((time.monotonic(), text))
        print(f"# {time.monotonic():.1f} {text}", flush=True)

    @staticmethod
    def since(notes, when):
        return [text for at, text in notes if at >= when]

    def claimed(self, when):
        """Names of the gateways that gave somebody a desktop since."""
        with self.lock:
            return {claim[1] for claim in self.claims if claim[0] >= when}


class Browser(gateway.Visitor):
    """The gateways behind one name. `only` pins it to one of them."""

    def __init__(self, world, user, page=True, only=None):
        super().__init__(f"{HOST}:80", user, PASSWORD, page=page, timeout=20)
        self.site, self.world, self.only, self.last = HOST, world, only, None

    def request(self, method, path, headers=None, body=None):
        gateways = [self.only] if self.only else random.sample(self.world.gateways, len(self.world.gateways))
        for i, chosen in enumerate(gateways):
            connection = http.client.HTTPConnection(*chosen.address, timeout=self.timeout)
            began = time.monotonic()
            try:
                connection.request(method, path, body=body, headers=self.headers(path, headers))
                raw = connection.getresponse()
                self.keep_cookies(raw, path)
                answer = gateway.Response(raw, raw.read())
                self.last = chosen
                self.world.slowest = max(self.world.slowest, time.monotonic() - began)
                return answer
            except (OSError, http.client.HTTPException):
                if i + 1 == len(gateways):
                    raise
            finally:
                connection.close()

    def mark(self, text=None):
        return mark_of(self, text)


def mark_of(visitor, text=None):
    """(boot, mark) of the instance that the gateway leads to; None: it does not lead to one now."""
    answer = visitor.request("GET", APP + "mark" + (f"?{text}" if text else ""), {"Accept": "text/plain"})
    found = ANSWER.match(answer.text()) if answer.status == 200 else None
    return found.groups() if found else None


class Person(threading.Thread):
    def __init__(self, world, number, pause=(5, 30)):
        super().__init__(daemon=True)
        self.world, self.user, self.pause = world, f"p{number}", pause
        self.page = number % 4 != 0  # every fourth is a program without cookies
        self.browser = Browser(world, self.user, self.page)
        self.random = random.Random(number)
        self.sessions, self.instance, self.boot, self.doing = 0, None, None, "comes"
        self.over = set()  # instances of sessions that were ended
        self.held = False

    def run(self):
        self.wait(self.random.uniform(0, 10))
        while not self.world.stopping.is_set():
            if self.claim():
                self.use()
                self.end()
            self.wait(self.random.uniform(*self.pause))
        self.doing = "left"

    def wait(self, seconds):
        self.world.stopping.wait(seconds)

    def patiently(self, step, limit=None):
        """Repeats step() until it returns something, whatever goes wrong. None: the limit is over."""
        began = time.monotonic()
        while limit is None or time.monotonic() - began < limit:
            try:
                got = step()
            except TROUBLE:
                got = None
            if got:
                return got
            if limit is None and self.world.stopping.is_set() and not self.sessions == 0:
                return None
            time.sleep(1)
        return None

    def ready(self):
        """One look at the line: the instance, once it is there."""
        if self.page and not self.browser.cookies:
            self.browser.get(APP)
        state = self.browser.wait("marker")
        if state.get("state") == "ready":
            return state["instance"]
        if state.get("state") == "ended":
            self.browser.get(APP + ".persona/new", follow=0)
        return None

    def claim(self):
        self.doing, began = "waits", time.monotonic()
        self.me = f"{self.user}.{self.sessions + 1}"
        self.instance = self.patiently(self.ready)
        served = self.browser.last
        if not self.instance:
            return False
        seen = self.patiently(lambda: self.browser.mark(self.me), PATIENCE)
        if not seen:
            self.world.note(self.world.stuck, f"{self.user} was given {self.instance} and does not reach it")
            return False
        self.sessions += 1
        self.check(*seen)
        self.boot = seen[0]
        if seen[1] != self.me and seen[1].startswith(self.user + ".") and self.boot in self.over:
            self.world.note(self.world.returned, f"{self.user} ended {seen[1]} and has it again: {self.instance}")
        with self.world.lock:
            self.world.claims.append((time.monotonic(), served.name, self.user, time.monotonic() - began))
        return True

    def check(self, boot, mark):
        with self.world.lock:
            owner = self.world.owners.setdefault(boot, self.user)
        if owner != self.user or (mark != "-" and not mark.startswith(self.user + ".")):
            self.world.note(self.world.violations, f"{self.user} is in an instance of {owner}: {boot} {mark}, "
                            f"thought to be {self.instance}")

    def use(self):
        self.doing, good = "works", time.monotonic()
        end = good + self.random.uniform(4, 9)
        while time.monotonic() < end and not self.world.stopping.is_set() or self.held:
            time.sleep(1)
            try:
                seen = self.browser.mark()
            except TROUBLE:
                seen = None
            if seen:
                good = time.monotonic()
                self.check(*seen)
                if seen[0] != self.boot:
                    self.lose(seen)
                    return
            elif time.monotonic() - good > PATIENCE:
                self.world.note(self.world.stuck, f"{self.user} does not reach {self.instance} any more")
                return

    def lose(self, seen):
        if self.instance not in self.world.doomed:
            self.world.note(self.world.lost, f"{self.user} had {self.instance} ({self.boot}) and has {seen}")
        self.boot = seen[0]

    def end(self):
        self.doing = "ends"

        def ended():
            answer = self.browser.end("marker")
            return answer.status == 200 and answer.json().get("state") == "ended"

        if self.patiently(ended, PATIENCE):
            self.over.add(self.boot)
        else:
            self.world.note(self.world.stuck, f"{self.user} cannot end the session of {self.instance}")
