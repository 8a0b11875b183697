// Keys: they press what is on the page already, so nothing can be done by key that cannot be done without.
"use strict";

const rowsOf = () => $$("#mails [data-row], #list a.row");

function move(step) {
  const rows = rowsOf();
  if (!rows.length) return;
  const here = rows.findIndex((row) => row === document.activeElement || row.hasAttribute("aria-current"));
  const at = document.activeElement && rows.includes(document.activeElement) ? rows.indexOf(document.activeElement) : here;
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + step))];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  // In the inbox the mail beside the list follows; in a table the row waits for Enter.
  if (next.matches("[data-row]") && matchMedia("(width >= 64rem)").matches) next.click();
}

const press = (selector) => {
  const found = $(selector);
  found?.click();
  return found;
};

const KEYS = {
  "/": () => $("[data-search]")?.focus(),
  "?": () => openDialog($("#keys"), document.activeElement),
  j: () => move(1),
  k: () => move(-1),
  o: () => (rowsOf().includes(document.activeElement) ? document.activeElement.click() : undefined),
  x: () => {
    const tick = $("[name=id]", document.activeElement.closest("tr") ?? document.createElement("tr"));
    tick?.click();
  },
  u: () => press("[data-back]"),
  r: () => press("[data-act=retry]"),
  "#": () => press("[data-act=delete]"),
  c: () => press("[data-code]"),
  l: () => press("[data-link]"),
};

let wentBefore = 0; // when G was pressed
const inField = (target) => target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    const palette = $("#palette");
    if (palette?.open) palette.close();
    else openDialog(palette, document.activeElement);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && inField(event.target) && !$("dialog[open]:not(.still)")) event.target.blur();
  if ($("dialog[open]:not(.still)")) return paletteKeys(event);
  if (inField(event.target)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (Date.now() - wentBefore < 1500) {
    wentBefore = 0;
    const place = $(`[data-key="${CSS.escape(key.toUpperCase())}"]`);
    if (place) {
      event.preventDefault();
      location.assign(place.href);
      return;
    }
  }
  if (key === "g") {
    wentBefore = Date.now();
  } else if (/^[1-7]$/.test(key)) {
    $$("[data-tab]")[Number(key) - 1]?.click();
  } else if (KEYS[key]) {
    event.preventDefault();
    KEYS[key]();
  }
});

// In the palette the arrows choose, Enter goes.
function paletteKeys(event) {
  const palette = $("#palette[open]");
  if (!palette || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
  event.preventDefault();
  const places = $$("#jumps a", palette);
  const at = places.findIndex((place) => place.classList.contains("on"));
  places[at]?.classList.remove("on");
  const next = places[(at + (event.key === "ArrowDown" ? 1 : -1) + places.length) % places.length];
  next?.classList.add("on");
  next?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  const mover = event.target.closest("[data-move]");
  if (mover) move(Number(mover.dataset.move));
});
