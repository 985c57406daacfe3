const tools = document.querySelector(".tools"), box = tools.querySelector("input"), note = tools.querySelector("output");
const chips = [...tools.querySelectorAll("button")], items = [...document.querySelectorAll("[data-tone]")];
const folds = [...document.querySelectorAll("details.fold")], text = node => (node.dataset.text ?? node.textContent).toLowerCase();
tools.hidden = false;
function refresh() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean), on = chips.filter(c => c.ariaPressed === "true").map(c => c.value);
  for (const item of items) item.hidden = !((!on.length || on.includes(item.dataset.tone)) && words.every(w => text(item).includes(w)));
  for (const fold of folds) fold.open = words.length + on.length > 0 && fold.querySelector("[data-tone]:not([hidden])") !== null;
  note.textContent = words.length + on.length ? items.filter(item => !item.hidden && !item.matches(".one")).length + " shown" : "";
}
box.addEventListener("input", refresh);
for (const chip of chips) chip.addEventListener("click", () => { chip.ariaPressed = String(chip.ariaPressed !== "true"); refresh(); });
for (const head of document.querySelectorAll(".sortable th")) {
  const button = document.createElement("button"), place = head.cellIndex, body = head.closest("table").tBodies[0];
  button.append(...head.childNodes); head.append(button);
  button.addEventListener("click", () => {
    const up = head.ariaSort !== "ascending", key = row => row.cells[place].dataset.key ?? row.cells[place].textContent.trim();
    for (const other of head.parentNode.cells) other.ariaSort = null;
    head.ariaSort = up ? "ascending" : "descending";
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * key(a).localeCompare(key(b), undefined, {numeric: true})));
  });
}
for (const link of document.querySelectorAll("a[href^='#']")) link.addEventListener("click", () => {
  for (let part = document.getElementById(link.hash.slice(1)); part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
});
