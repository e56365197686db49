// SPDX-License-Identifier: Apache-2.0
// The waiting page: asks each second how far it is, and opens the desktop by itself.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const progress = at("progress");
  const began = Date.now();
  let failures = 0;

  function show(element, text) {
    element.hidden = !text;
    if (text && element.textContent !== text) {
      element.textContent = text;
    }
  }

  function seconds(n) {
    return n < 90 ? `${Math.max(1, Math.round(n))} seconds` : `${Math.round(n / 60)} minutes`;
  }

  // The marks that the rest of the wait lies between; minutes are rounded away from each other, as the seconds are.
  function between(low, high) {
    return high < 90 ? `${low} and ${high} more seconds`
      : `${Math.floor(low / 60)} and ${Math.ceil(high / 60)} more minutes`;
  }

  function update(state) {
    const waited = state.waited ?? (Date.now() - began) / 1000;
    show(at("stage"), state.stage_text || state.message);
    show(at("reason"), state.reason);
    at("place").hidden = !(state.place > 0);
    at("number").textContent = state.place;
    if (!state.eta) {
      progress.removeAttribute("aria-valuenow");
      show(at("eta"), waited > 3 ? `Waiting for ${seconds(waited)}.` : " ");
      return;
    }
    const part = Math.min(0.97, waited / (waited + Math.max(1, state.eta.typical)));
    progress.setAttribute("aria-valuenow", Math.round(part * 100));
    progress.firstElementChild.style.width = `${part * 100}%`;
    show(at("eta"), `In 8 of 10 cases between ${between(state.eta.low, state.eta.high)}.`);
  }

  async function ask() {
    let pause = 1000;
    try {
      const answer = await fetch(".persona/wait", { headers: { Accept: "application/json" }, cache: "no-store" });
      const state = await answer.json();
      failures = 0;
      if (state.state === "waiting") {
        update(state);
      } else if (state.state === "cookie") {
        show(at("reason"), "This site needs cookies to know your desktop again. Allow them and reload the page.");
        return;
      } else if (state.state === "down") {
        update(state);
        pause = 2000;
      } else {
        location.reload();
        return;
      }
    } catch {
      failures += 1;
      pause = Math.min(5000, 1000 * failures);
      if (failures > 2) {
        show(at("reason"), "The gateway does not answer. This page keeps trying.");
      }
    }
    setTimeout(ask, pause);
  }

  document.querySelectorAll("noscript").forEach((n) => n.remove());
  setTimeout(ask, 300);
})();
