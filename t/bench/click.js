// SPDX-License-Identifier: Apache-2.0
// Clicks in Chromium and the time to the first pixel of each; prints TAP with the figures as comments.
"use strict";
const path = require("path");
const { arrive, pause, site } = require(path.join(__dirname, "..", "browser", "person.js"));

const rounds = [["terminal", Number(process.env.CLICKS || 100)], ["machine", Number(process.env.MACHINE_CLICKS || 5)]];
const authorization = `Basic ${Buffer.from(`admin:${process.env.PERSONA_ADMIN}`).toString("base64")}`;
let tests = 0, failures = 0;

function ok(good, name) {
  tests += 1;
  failures += good ? 0 : 1;
  console.log(`${good ? "ok" : "not ok"} ${tests} - ${name}`);
}

// In every page: the time of the first frame in which the desktop's canvas shows more than one colour.
function watch() {
  const probe = document.createElement("canvas");
  const seen = () => {
    const canvas = document.querySelector("#screen canvas");
    if (canvas && canvas.width && canvas.height) {
      probe.width = probe.height = 64;
      const context = probe.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, 0, 0, 64, 64);
      const { data } = context.getImageData(0, 0, 64, 64);
      for (let i = 4; i < data.length; i += 4) {
        if (data[i] !== data[0] || data[i + 1] !== data[1] || data[i + 2] !== data[2]) {
          window.firstPixel = performance.timeOrigin + performance.now();
          return;
        }
      }
    }
    requestAnimationFrame(seen);
  };
  requestAnimationFrame(seen);
}

async function full(app) {
  for (let tries = 0; tries < 600; tries += 1) {
    const status = await (await fetch(`${site}/persona-status`, {
      headers: { Accept: "application/json", Authorization: authorization },
    })).json();
    const pool = status.personas.find((one) => one.id === app);
    if (pool.ready >= pool.target && !pool.creating) {
      return;
    }
    await pause(500);
  }
  throw new Error(`the pool of ${app} does not get full`);
}

async function click(person, app) {
  await full(app);
  await person.portal();
  await pause(300);
  const began = Date.now();
  await person.click(app);
  await person.page.waitForFunction(() => window.firstPixel, null, { timeout: 60000, polling: 50 });
  const pixel = await person.page.evaluate(() => window.firstPixel);
  await person.end();
  await person.page.waitForSelector("#apps", { timeout: 15000 });
  return pixel - began;
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)];
}

(async () => {
  const alice = await arrive("alice");
  await alice.context.addInitScript(watch);
  for (const [app, count] of rounds) {
    const times = [];
    for (let i = 0; i < count; i += 1) {
      try {
        times.push(await click(alice, app));
      } catch (error) {
        console.log(`# ${app}, click ${i + 1}: ${error.message.split("\n")[0]}`);
      }
    }
    ok(times.length === count, `${times.length} of ${count} clicks on ${app} were served`);
    times.sort((a, b) => a - b);
    if (times.length) {
      const [p50, p95, max] = [0.5, 0.95, 1].map((q) => Math.round(quantile(times, q)));
      console.log(`# ${app}, ${times.length} clicks to the first pixel: p50 ${p50} ms, p95 ${p95} ms, max ${max} ms`);
    }
  }
  await alice.leave();
  console.log(`1..${tests}`);
  process.exit(failures ? 1 : 0);
})();
