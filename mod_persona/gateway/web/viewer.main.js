// SPDX-License-Identifier: Apache-2.0
// The screen of a session: noVNC on the gateway's stream. It connects again by itself, for a person should not notice
// that a web server was restarted; it stops when the session is over, and says why.
import RFB from "novnc/rfb.js";

// close codes of the gateway, see stream.c
const ENDED = 4001, HOME = 4003, NONE = 4004;
const WARN_SECONDS = 600;

const at = (id) => document.getElementById(id);
const title = at("name").textContent;
const own = new URL(".persona/", location.href);
// The mark of a first visit (gateway.c) is not worth a place in bookmarks.
if (location.search.endsWith("persona-cookie")) {
  history.replaceState(null, "", location.pathname);
}
let rfb = null, code = 0, tries = 0, over = false, timer = 0;

function status(text) {
  at("status").textContent = text;
}

function veil(heading, text, again) {
  at("veil").hidden = !heading;
  if (heading) {
    at("veil-title").textContent = heading;
    at("veil-text").textContent = text;
  }
  at("again").hidden = !again;
}

function finish(heading, text, again) {
  over = true;
  clearTimeout(timer);
  status(heading);
  at("left").hidden = true;
  at("end").disabled = at("keys").disabled = true;
  veil(heading, text, again);
  if (again) {
    at("again").focus();
  }
}

async function ask() {
  const answer = await fetch(new URL("state", own), { headers: { Accept: "application/json" }, cache: "no-store" });
  return answer.json();
}

function remaining(seconds) {
  const show = typeof seconds === "number" && seconds < WARN_SECONDS;
  at("left").hidden = !show;
  if (show) {
    at("left").textContent = seconds < 90 ? "Ends within a minute: save your work"
      : `Ends in ${Math.round(seconds / 60)} minutes: save your work`;
  }
}

// What became of the session, after the stream closed.
async function look() {
  let state;
  try {
    state = await ask();
  } catch {
    status("The gateway does not answer");
    return again();
  }
  if (state.state === "ended" || (state.state === "none" && (code === ENDED || code === NONE))) {
    return finish("This session has ended", state.reason || "It can be started again.", true);
  }
  if (state.state === "home" || code === HOME) {
    return finish("Your files cannot be reached",
      state.reason || state.message || "Try again in a few minutes.", false);
  }
  if (state.state === "none") {
    location.reload();
    return undefined;
  }
  return again();
}

function again() {
  const pause = Math.min(5000, 250 * 2 ** tries) * (0.75 + Math.random() / 2);
  tries += 1;
  status("Connecting again");
  if (tries > 2) {
    veil("Connecting again", "The connection to your desktop was lost. Your programs go on running.", false);
  }
  timer = setTimeout(connect, pause);
}

function connect() {
  const url = new URL("stream", own);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, ["binary"]);
  code = 0;
  socket.addEventListener("close", (event) => { code = event.code; });
  rfb = new RFB(at("screen"), socket, { shared: true });
  rfb.scaleViewport = true;
  rfb.resizeSession = true;
  rfb.background = "#20262c";
  rfb.addEventListener("connect", () => {
    tries = 0;
    status("Connected");
    veil("");
    document.title = title;
    rfb.focus();
    document.body.dataset.connected = "true";
  });
  rfb.addEventListener("disconnect", () => {
    rfb = null;
    delete document.body.dataset.connected;
    if (!over) {
      // the socket's close event, with the code, may come after this one
      setTimeout(look, 50);
    }
  });
  rfb.addEventListener("clipboard", (event) => {
    navigator.clipboard?.writeText(event.detail.text).catch(() => {});
  });
}

at("keys").addEventListener("click", () => {
  rfb?.sendCtrlAltDel();
  rfb?.focus();
});
at("full").addEventListener("click", () => {
  if (document.fullscreenElement) {
    document.exitFullscreen();
  } else {
    document.documentElement.requestFullscreen().then(() => rfb?.focus()).catch(() => {});
  }
});
at("end").addEventListener("click", async () => {
  if (!confirm("End this session? Programs in it are closed and what is not saved is lost.")) {
    rfb?.focus();
    return;
  }
  over = true;
  try {
    await fetch(new URL("end", own), { method: "POST", headers: { Accept: "application/json" } });
    location.href = at("home").href;
  } catch {
    over = false;
    status("The gateway does not answer; the session was not ended");
  }
});
window.addEventListener("focus", async () => {
  try {
    const text = await navigator.clipboard?.readText();
    if (text) {
      rfb?.clipboardPasteFrom(text);
    }
  } catch {
    // the browser does not allow it without being asked
  }
});
setInterval(async () => {
  if (rfb && !document.hidden) {
    try {
      remaining((await ask()).remaining);
    } catch {
      // the stream tells when the gateway is gone
    }
  }
}, 30000);
ask().then((state) => remaining(state.remaining)).catch(() => {});
connect();
