#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_wait.py SITE SIGNIN: people wait in line, in waves, each asking once a second as the page does. Of 50 waits, 35
lie between the marks that were told first; who came first in a wave is served first. Prints TAP."""
import json
import os
import sys
import threading
import time

top = os.environ["top_srcdir"]
sys.path[:0] = [os.path.join(top, "t/lib"), os.path.join(top, "t/manager")]
import gateway  # noqa: E402
from manager_site import Tap  # noqa: E402

APP, WAITS, FIRST, WAVE = "line", 50, 8, 9
# Seconds. The first bounds it on a machine that has much other work; with none it takes well below a minute. The
# second: people ask once a second, so one of two may see what is theirs so much sooner.
LIMIT, LATE = 240, 4
site, signin = sys.argv[1:3]
passwords = dict(line.split() for line in open(signin))
tap = Tap()


class Person(threading.Thread):
    """Clicks, and asks once a second until the desktop is there."""

    def __init__(self, number):
        super().__init__(daemon=True)
        name = f"p{number}"
        self.visitor = gateway.Visitor(site, name, passwords[name], timeout=30)
        self.place = self.marks = self.told = self.wait = self.served = self.flaw = None

    def click(self):
        """The first answer is the page itself: from here the person has a place."""
        try:
            answer = self.visitor.get(f"/apps/{APP}/")
            self.flaw = None if answer.status in (200, 202, 503) else f"status {answer.status}"
        except (OSError, gateway.Refused) as error:
            self.flaw = str(error)

    def run(self):
        try:
            while not self.flaw:
                state = self.visitor.wait(APP)
                if state["state"] == "ready":
                    self.served = time.monotonic()
                    if self.told:
                        self.wait = self.served - self.told
                    return
                if state["state"] not in ("waiting", "down"):
                    self.flaw = json.dumps(state)
                elif "eta" in state and not self.told:
                    self.told = time.monotonic()
                    self.place, self.marks = state["place"], (state["eta"]["low"], state["eta"]["high"])
                time.sleep(1)
        except (OSError, KeyError, gateway.Refused) as error:
            self.flaw = f"{type(error).__name__}: {error}"

    def outcome(self):
        low, high = self.marks
        return "below" if self.wait < low else "above" if self.wait > high else "between"


numbers = iter(range(1, 81))


def wave(count):
    people = [Person(next(numbers)) for _ in range(count)]
    for person in people:
        person.click()
        person.start()
    for person in people:
        person.join(120)
        if person.is_alive():
            person.flaw = "is still waiting"
    return people


# Nothing is known yet: nobody is told anything before a boot was measured.
people = wave(1)
tap.ok(not people[0].flaw and not people[0].marks, "the first one waits, and is told nothing of how long",
       f"{people[0].flaw} {people[0].marks}")
everybody = wave(FIRST - 1)
flaws = [person.flaw for person in everybody if person.flaw]
told, overtaken, began, waves = [], 0, time.monotonic(), 0
while len(told) < WAITS and time.monotonic() - began < LIMIT and not flaws:
    people = wave(min(WAVE, WAITS + 3 - len(told)))
    waves += 1
    flaws += [person.flaw for person in people if person.flaw]
    for person in people:
        if person.wait is not None:
            told.append(person)
    # They clicked one after the other.
    overtaken += sum(not second.flaw and not first.flaw and second.served + LATE < first.served
                     for i, first in enumerate(people) for second in people[i + 1:])
took = time.monotonic() - began
tap.ok(not flaws, "everybody who waits gets a desktop", "; ".join(flaws[:5]))
tap.ok(not overtaken, "who came first is served first", f"{overtaken} overtaken")
between = [person for person in told if person.outcome() == "between"]
for person in told:
    print(f"# place {person.place}: told {person.marks[0]} to {person.marks[1]} s, took {person.wait:.1f} s,"
          f" {person.outcome()}")
tap.ok(len(told) >= WAITS, f"{WAITS} people were told how long they will wait",
       f"{len(told)} in {waves} waves, {took:.0f} s")
tap.ok(len(between) * WAITS >= 35 * len(told) and len(told) > 0,
       "of 50 waits at least 35 are between the marks that were told first",
       f"{len(between)} of {len(told)}; {sum(person.outcome() == 'below' for person in told)} below, "
       f"{sum(person.outcome() == 'above' for person in told)} above")
document = gateway.Visitor(site, "admin", passwords["admin"]).status()
print("# boot:", json.dumps(document["personas"][0]["boot"]))
sys.exit(tap.end())
