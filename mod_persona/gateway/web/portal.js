// SPDX-License-Identifier: Apache-2.0
// The portal: ending a session is asked back once, and the page is fresh when a person returns to it.
"use strict";
(() => {
  for (const form of document.querySelectorAll("form")) {
    form.addEventListener("submit", (event) => {
      if (!confirm("End this session? Programs in it are closed and what is not saved is lost.")) {
        event.preventDefault();
      }
    });
  }
  let left = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      left = Date.now();
    } else if (left && Date.now() - left > 15000) {
      location.reload();
    }
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) {
      location.reload();
    }
  });
})();
