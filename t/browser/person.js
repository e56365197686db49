// SPDX-License-Identifier: Apache-2.0
// A person at Chromium: opens applications, looks at the screen's pixels, types.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");
const { chromium } = require("playwright-core");

const site = process.env.PERSONA_SITE;
const logs = process.env.PERSONA_LOGS;

function password(user) {
  const line = fs.readFileSync(process.env.PERSONA_SIGNIN, "utf8").split("\n").find((l) => l.startsWith(`${user} `));
  return line.split(" ")[1];
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Chromium with a profile of its own for each person; without its services that look for the network.
async function arrive(user) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), `chromium-${user}-`));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: "/usr/bin/chromium", headless: true, viewport: { width: 1280, height: 800 },
    httpCredentials: { username: user, password: password(user), send: "always" },
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const page = context.pages()[0];
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  return new Person(user, context, page, errors);
}

class Person {
  constructor(user, context, page, errors) {
    Object.assign(this, { user, context, page, errors });
  }

  portal() {
    return this.page.goto(`${site}/apps/`);
  }

  click(app) {
    return this.page.click(`a.open[href$="/${app}/"]`);
  }

  shot(name) {
    return this.page.screenshot({ path: path.join(logs, `${name}.png`) });
  }

  // What the canvas shows: how many colours, and which share of it is nearly `color` ([r, g, b]).
  pixels(color) {
    return this.page.evaluate((wanted) => {
      const canvas = document.querySelector("#screen canvas");
      if (!canvas || !canvas.width || !canvas.height) {
        return { colors: 0, share: 0 };
      }
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      let near = 0;
      for (let i = 0; i < data.length; i += 4) {
        seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
        near += wanted && Math.abs(data[i] - wanted[0]) + Math.abs(data[i + 1] - wanted[1]) +
          Math.abs(data[i + 2] - wanted[2]) < 48 ? 1 : 0;
      }
      return { colors: seen.size, share: near / (data.length / 4) };
    }, color);
  }

  async until(limit, condition) {
    const end = Date.now() + limit;
    while (Date.now() < end) {
      if (await condition().catch(() => false)) {
        return true;
      }
      await pause(50);
    }
    return false;
  }

  painted(limit) {
    return this.until(limit, async () => (await this.pixels()).colors > 1);
  }

  filled(color, limit) {
    return this.until(limit, async () => (await this.pixels(color)).share > 0.4);
  }

  // Types into the desktop, as fast as a person who types well.
  async type(text) {
    const box = await this.page.locator("#screen canvas").boundingBox();
    await this.page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    await this.page.keyboard.type(text, { delay: 15 });
    await this.page.keyboard.press("Enter");
  }

  async end() {
    this.page.once("dialog", (dialog) => dialog.accept());
    await this.page.click("#end");
  }

  leave() {
    return this.context.close();
  }
}

module.exports = { arrive, pause, site };
