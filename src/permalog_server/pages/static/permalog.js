// What makes reading quicker; everything can be read without it. Nothing here makes HTML out of text.
"use strict";
(() => {
  const two = (n) => String(n).padStart(2, "0");

  /** Shows each event's time as it was on the reader's clock, with UTC beside it. */
  function localise(root) {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      time.dataset.local = "";
      const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
      const clock = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
      const utc = document.createElement("span");
      utc.className = "utc";
      const iso = moment.toISOString();
      utc.textContent = `${iso.slice(0, 10) === day ? "" : iso.slice(0, 10) + " "}${iso.slice(11, 19)} UTC`;
      time.title = time.dateTime;
      if (moment.getTimezoneOffset() === 0) continue;
      time.replaceChildren(`${day} ${clock} `, utc);
    }
  }

  const rows = () => [...document.querySelectorAll("a.what")];
  const eventOf = (row) => new URL(row.href).pathname;
  const isTyping = (target) => target.closest("input, select, textarea, [contenteditable]") !== null;

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.closest(".event").contains(document.activeElement));
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  const panel = () => document.getElementById("panel");
  let opener = null;

  /** Opens an event beside the list; the address becomes the event's. */
  function open(row) {
    if (!panel().contains(row)) opener = eventOf(row);
    htmx.ajax("GET", row.href, { target: "#panel", select: "#event", swap: "innerHTML" });
  }

  /** Closes it again: the list is as it was left. */
  function close() {
    const list = panel()?.querySelector("[data-list]")?.dataset.list;
    if (!list) return false;
    panel().replaceChildren();
    history.replaceState(history.state, "", list);
    rows().find((row) => eventOf(row) === opener)?.focus();
    return true;
  }

  document.addEventListener("click", (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const closing = event.target.closest("#panel [data-close]");
    const row = event.target.closest("a.what, #panel .few a");
    if (closing && close()) event.preventDefault();
    if (row && panel()) {
      event.preventDefault();
      open(row);
    }
  });

  function escape(event) {
    const menu = event.target.closest("details[open].menu") ?? document.querySelector("details[open].menu");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
      return;
    }
    if (close()) return;
    if (event.target.id === "search") event.target.blur();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") escape(event);
    if (event.target.id === "search" && event.key === "ArrowDown") {
      event.preventDefault();
      move(1);
    }
    if (isTyping(event.target)) return;
    const search = document.getElementById("search");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (panel()?.contains(document.activeElement)) {
      return; // there, arrows scroll
    } else if (event.key === "ArrowDown" || event.key === "j") {
      event.preventDefault();
      move(1);
    } else if (event.key === "ArrowUp" || event.key === "k") {
      event.preventDefault();
      move(-1);
    }
  });

  // A menu closes when one goes elsewhere.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details[open].menu")) if (!menu.contains(event.target)) menu.open = false;
  });

  // What was typed was searched for already: leaving the field is no reason to do so again.
  document.addEventListener("change", (event) => {
    if (event.target.id === "search") event.stopPropagation();
  }, true);

  // Whoever stands on an event stays on it when the list is fetched anew.
  let stoodOn = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const row = document.activeElement?.closest?.(".event");
    stoodOn = event.target.id === "results" && row ? eventOf(row.querySelector("a.what")) : null;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (stoodOn === null || document.activeElement !== document.body) return;
    const again = rows().find((row) => eventOf(row) === stoodOn) ?? rows()[0];
    again?.focus();
    stoodOn = null;
  });

  // Empty fields ask for nothing, and stay out of the address.
  document.addEventListener("htmx:configRequest", (event) => {
    const parameters = event.detail.parameters;
    for (const name of [...new Set(parameters.keys?.() ?? Object.keys(parameters))]) {
      if (parameters[name] === "") delete parameters[name];
    }
  });
  // What happens meanwhile is counted, and shown when one asks for it: nothing moves by itself.
  let source = null;
  function follow() {
    const address = document.querySelector("[data-tail]")?.dataset.tail ?? null;
    if (source?.address === address) return;
    source?.stream.close();
    source = null;
    if (address === null) return;
    const stream = new EventSource(address);
    source = { address, stream };
    let count = 0;
    stream.addEventListener("event", () => {
      count += 1;
      const note = document.getElementById("fresh");
      if (!note) return;
      note.firstElementChild.textContent = count === 1 ? "1 new event" : `${count} new events`;
      note.hidden = false;
    });
    stream.addEventListener("end", (event) => {
      if (event.data.includes("admitted")) stream.close();
    });
  }

  function arrived(root) {
    localise(root);
    follow();
    if (root.id === "event") root.querySelector("h1").focus();
  }
  document.addEventListener("htmx:load", (event) => arrived(event.target));
  document.addEventListener("DOMContentLoaded", () => arrived(document));
  addEventListener("pagehide", () => source?.stream.close());
})();
