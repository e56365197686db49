// SPDX-License-Identifier: Apache-2.0
// What a person sees, as TAP.
"use strict";
const fs = require("fs");
const path = require("path");
const { arrive, pause, site } = require("./person.js");

const GREEN = [0, 200, 0];
const BLUE = [0, 0, 200];
const homes = process.env.PERSONA_HOMES;
let tests = 0, failures = 0;

function ok(good, name, more) {
  tests += 1;
  failures += good ? 0 : 1;
  console.log(`${good ? "ok" : "not ok"} ${tests} - ${name}`);
  if (!good && more !== undefined) {
    console.log(`# ${String(more).replace(/\n/g, "\n# ")}`);
  }
  return good;
}

// The words that turn a terminal's background into a colour: what was typed shows in the pixels.
function paint([r, g, b]) {
  const hex = (n) => n.toString(16).padStart(2, "0");
  return `printf '\\033]11;#${hex(r)}${hex(g)}${hex(b)}\\007\\033[2J'`;
}

async function warm(alice) {
  await alice.portal();
  ok(/terminal/i.test(await alice.page.textContent("body")), "the portal shows the application");
  ok(/alice/.test(await alice.page.textContent("body")), "and who is signed in");
  ok(await alice.page.locator("text=ready now").count() > 0, "and that one is ready now");
  await alice.shot("portal");
  const began = Date.now();
  await alice.click("terminal");
  ok(await alice.painted(20000), "a click opens a desktop with pixels");
  console.log(`# first pixel after ${Date.now() - began} ms`);
  ok(await alice.page.locator("#progress").count() === 0, "without a waiting page");
  await pause(3000);
  await alice.type(paint(GREEN));
  ok(await alice.filled(GREEN, 10000), "what is typed shows in the desktop's pixels");
  await alice.shot("typed");
}

async function save(alice) {
  const file = path.join(homes, "alice", "diary");
  await alice.type("echo green-day > ~/Files/diary");
  ok(await alice.until(15000, async () => fs.readFileSync(file, "utf8") === "green-day\n"),
    "a file saved in the desktop is among the person's files");
}

async function again(alice) {
  const before = await instance(alice, "terminal");
  await alice.page.reload();
  ok(await alice.painted(15000) && await alice.filled(GREEN, 10000), "a reload comes back to the same desktop");
  ok(before && before === await instance(alice, "terminal"), "on the same instance");
  const tab = await alice.context.newPage();
  await tab.goto(`${site}/apps/terminal/`);
  ok(await alice.until(10000, async () => tab.evaluate(() => !!document.querySelector("#screen canvas"))),
    "a second tab shows it too");
  ok(before === await instance(alice, "terminal"), "and holds no other instance");
  await tab.close();
  await alice.page.bringToFront();
  await alice.end();
  ok(await alice.until(15000, async () => await alice.page.locator("#apps").count() > 0),
    "the session can be ended, which leads back to the portal");
  ok(await alice.page.locator("text=Resume").count() === 0, "where it is no longer among those that run");
  await alice.shot("ended");
  await alice.click("terminal");
  ok(await alice.painted(20000), "the next click opens a new desktop");
  ok(before !== await instance(alice, "terminal"), "on another instance");
  await pause(3000);
  await alice.type(`grep -q green-day ~/Files/diary && ${paint(BLUE)}`);
  ok(await alice.filled(BLUE, 10000), "the file is there again");
  await alice.shot("next");
}

function instance(person, app) {
  return person.page.evaluate(async (url) => (await (await fetch(url, { headers: { Accept: "application/json" } }))
    .json()).instance, `${site}/apps/${app}/.persona/state`);
}

async function apart(alice) {
  const bob = await arrive("bob");
  await bob.portal();
  await bob.click("terminal");
  ok(await bob.painted(30000), "another person gets a desktop");
  ok(await instance(bob, "terminal") !== await instance(alice, "terminal"), "of their own");
  await pause(3000);
  await bob.type(`ls ~/Files/diary || ${paint(GREEN)}`);
  ok(await bob.filled(GREEN, 10000), "without the first person's file");
  await bob.end();
  await bob.leave();
}

async function cold(alice) {
  await alice.portal();
  const began = Date.now();
  await alice.click("cold");
  ok(await alice.until(10000, async () => await alice.page.locator("#progress").count() > 0),
    "where nothing is ready there is a waiting page");
  ok(/\w{4}/.test(await alice.page.textContent("#stage")), "that says how far it is");
  await alice.shot("waiting");
  ok(await alice.painted(90000), "it turns into the desktop by itself");
  console.log(`# cold: first pixel after ${Date.now() - began} ms`);
  await alice.shot("cold");
}

(async () => {
  const alice = await arrive("alice");
  for (const chapter of [warm, save, again, apart, cold]) {
    console.log(`# ${chapter.name}`);
    try {
      await chapter(alice);
    } catch (error) {
      ok(false, `${chapter.name} goes on to its end`, error.stack);
      await alice.shot(`broken-${chapter.name}`).catch(() => {});
    }
  }
  ok(alice.errors.length === 0, "no script failed", alice.errors.join("\n"));
  await alice.leave();
  console.log(`1..${tests}`);
  process.exit(failures ? 1 : 0);
})();
