// The panel's own script: what HTML and htmx cannot do. It holds no state and asks for nothing the pages do not offer.
"use strict";

const root = document.documentElement;
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const texts = () => $("#texts")?.dataset ?? {};

function keep(name, value) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}

// Times are written on the server in the zone this cookie names. It is not known on the very first page.
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.body.dataset.zone;
  const told = document.cookie.includes(`zone=${zone}`);
  if (!zone || zone === known || told) return;
  keep("zone", zone);
  if (document.cookie.includes("zone=") && $("main time")) location.reload();
}

function switchTheme() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  keep("theme", root.dataset.theme);
}

async function copy(button) {
  const text = button.dataset.copy || $("pre, code", button.closest(".code") ?? button)?.textContent || "";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS browsers give no clipboard: the old way.
    const field = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.classList.add("copied");
  const use = $("use", button);
  const shape = use?.getAttribute("href");
  use?.setAttribute("href", shape.replace(/#.*/, "#check"));
  say(texts().copied);
  setTimeout(() => {
    button.classList.remove("copied");
    use?.setAttribute("href", shape);
  }, 1200);
}

// For screen readers: what just happened, without a toast to look at.
function say(text) {
  if (!text) return;
  const line = Object.assign(document.createElement("span"), { className: "sr", textContent: text });
  $("#toasts")?.append(line);
  setTimeout(() => line.remove(), 2000);
}

// A toast goes by itself after eight seconds, not while it is looked at.
function dismissLater(toast) {
  if (toast.dataset.toast === "seen") return;
  toast.dataset.toast = "seen";
  const wait = () => setTimeout(() => (toast.matches(":hover, :focus-within") ? wait() : toast.remove()), 8000);
  wait();
}

function openDialog(dialog, opener) {
  if (!dialog || dialog.open) return;
  dialog.addEventListener("close", () => {
    if (opener?.isConnected) opener.focus();
    if (dialog.matches("[data-modal]")) dialog.remove(); // it was fetched to ask once
  });
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const on = (selector) => event.target.closest(selector);
  const copier = on("[data-copy]");
  if (copier) copy(copier);
  if (on("[data-theme-switch]")) {
    event.preventDefault();
    switchTheme();
  }
  if (on("[data-palette]")) {
    event.preventDefault();
    openDialog($("#palette"), on("[data-palette]"));
  }
  const opener = on("[data-dialog]");
  if (opener) openDialog(document.getElementById(opener.dataset.dialog), opener);
  const closer = on("[data-close]");
  const holder = closer?.closest("dialog:not(.still), .toast");
  if (holder) {
    event.preventDefault();
    if (holder.close) holder.close();
    else holder.remove();
  }
  if (event.target.matches("dialog[open]:not(.still)")) event.target.close();
  // On a phone the list is still here: show it again instead of loading it.
  const back = on(".split.open [data-back]");
  if (back && $$("#mails [data-row]").length) {
    event.preventDefault();
    back.closest(".split").classList.remove("open");
    history.pushState({}, "", back.href);
  }
});

const ticks = () => $$("#list [name=id]");

function countTicks() {
  const number = ticks().filter((tick) => tick.checked).length;
  $$("[data-ticked]").forEach((place) => (place.textContent = number));
  const all = $("[data-tick-all]");
  if (all) Object.assign(all, { checked: number > 0 && number === ticks().length, indeterminate: number > 0 && number < ticks().length });
}

document.addEventListener("reset", () => setTimeout(countTicks));
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-tick-all]")) ticks().forEach((tick) => (tick.checked = event.target.checked));
  if (event.target.closest("#list")) countTicks();
  const form = event.target.closest("[data-submit-on-change]");
  if (form && event.target.name !== "width") form.requestSubmit();
});

document.addEventListener("submit", (event) => {
  const search = event.target.closest("#palette form");
  const chosen = search && $("#jumps .on");
  if (chosen) {
    event.preventDefault();
    chosen.click();
  }
});

// --- htmx ---

const isPoll = (element) => /every \d/.test(element?.getAttribute?.("hx-trigger") ?? "");

// Nobody looks, or somebody is busy in what would change: the next turn comes in a moment anyway.
document.addEventListener("htmx:beforeRequest", (event) => {
  const asking = event.detail.elt;
  if (!isPoll(asking)) return;
  const selected = getSelection();
  const isBusy = !asking.hidden && !selected.isCollapsed && asking.contains(selected.anchorNode);
  const hasTicks = asking.id === "list" && ticks().some((tick) => tick.checked);
  if (document.hidden || isBusy || hasTicks) event.preventDefault();
});

// What was folded open or shut stays so when a living part is replaced.
let folded = new Map();
document.addEventListener("htmx:beforeSwap", (event) => {
  folded = new Map($$("details[id]", event.detail.target).map((details) => [details.id, details.open]));
});
document.addEventListener("htmx:afterSwap", () => {
  for (const [id, open] of folded) {
    const details = document.getElementById(id);
    if (details) details.open = open;
  }
  folded.clear();
});

document.addEventListener("htmx:afterSettle", () => {
  $$("[data-toast]").forEach(dismissLater);
  const asked = $("#dialog > [data-modal]:not([open])");
  if (asked) openDialog(asked, document.activeElement);
  markCurrent();
});

document.addEventListener("htmx:afterRequest", (event) => {
  const dialog = event.detail.elt.closest?.("#dialog dialog");
  if (dialog && event.detail.elt.matches("form")) dialog.close();
  if (event.detail.xhr.status) $("#trouble")?.remove();
});

// Mail that is read has its own address; the list marks it. Narrow windows show the mail instead of the list.
function markCurrent() {
  const preview = $("#preview");
  if (!preview) return;
  const path = location.pathname.split("/").slice(0, 3).join("/");
  const rows = $$("#mails [data-row]");
  const current = rows.find((row) => new URL(row.href).pathname === path);
  if (!current) return;
  rows.forEach((row) => row.toggleAttribute("aria-current", false));
  current.setAttribute("aria-current", "true");
}

document.addEventListener("htmx:pushedIntoHistory", (event) => {
  if (/^\/sandbox\/[^/]+/.test(event.detail.path)) $(".split")?.classList.add("open");
  markCurrent();
});
window.addEventListener("popstate", () => location.reload());

function trouble(text) {
  if ($("#trouble") || !text) return;
  const note = document.createElement("div");
  Object.assign(note, { id: "trouble", className: "note deferred trouble" });
  note.setAttribute("role", "alert");
  note.append(Object.assign(document.createElement("b"), { textContent: text }));
  document.body.append(note);
}

document.addEventListener("htmx:sendError", () => trouble(texts().offline));
document.addEventListener("htmx:responseError", (event) => {
  const isOurs = event.detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
  trouble((isOurs && event.detail.xhr.responseText) || texts().failed);
  setTimeout(() => $("#trouble")?.remove(), 8000);
});

tellZone();
$$("[data-toast]").forEach(dismissLater);
markCurrent();
