"use strict";
/* Tables: sorted by a click on a heading, filtered by words; confusion matrices tell their cells. */
{
  const MANY = 12; // rows from which on a table can be filtered; one of runs can always be

  /** Puts something before or after a table, together with which it is laid out. */
  function beside(table, before, after) {
    const scroll = table.parentElement;
    const block = document.createElement("div");
    scroll.replaceWith(block);
    block.append(...[before, scroll, after].filter(Boolean));
  }

  /** What a cell is sorted by: its number in a column of numbers, else its words. Spreads and badges do not count. */
  function key(row, column, numeric) {
    const cell = row.cells[column];
    const parts = [...(cell ? cell.childNodes : [])].filter(
      (part) => !(part.classList && (part.classList.contains("spread") || part.classList.contains("badge"))));
    const words = parts.map((part) => part.textContent).join("").trim();
    if (!numeric) return words.toLocaleLowerCase();
    const number = parseFloat(words.replaceAll(",", "").replace("−", "-"));
    return Number.isNaN(number) ? null : number;
  }

  /** Sorts the rows of a table; totals stay at its end, and cells without a number come last. */
  function sort(table, column, numeric, descending) {
    const body = table.tBodies[0];
    const ends = (row) => row.classList.contains("total") || row.classList.contains("aside");
    const rows = [...body.rows].filter((row) => !ends(row));
    const keys = new Map(rows.map((row) => [row, key(row, column, numeric)]));
    rows.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      const order = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return descending ? -order : order;
    });
    body.append(...rows, ...[...body.rows].filter(ends));
  }

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (cell.tagName !== "TH") return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const numeric = cell.classList.contains("n");
        const now = cell.getAttribute("aria-sort");
        const descending = now ? now === "ascending" : numeric; // of numbers the largest first
        table.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, numeric, descending);
      });
    });
  }

  function filterable(table) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "search", placeholder: "words to look for" });
    const told = document.createElement("output");
    label.className = "filter";
    label.append("Show rows with", input, told);
    beside(table, label, null);
    input.addEventListener("input", () => {
      const wanted = input.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const words = row.textContent.toLocaleLowerCase();
        row.hidden = !wanted.every((word) => words.includes(word));
      }
      told.textContent = wanted.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
    });
  }

  /** Lets the cursor, or the arrow keys, tell each cell of a confusion matrix. */
  function telling(table) {
    const told = Object.assign(document.createElement("output"), { className: "told" });
    beside(table, null, told);
    const rows = [...table.tBodies[0].rows];
    const cells = rows.flatMap((row) => [...row.cells].slice(1));
    for (const cell of cells) {
      cell.dataset.about = cell.title;
      cell.removeAttribute("title");
      cell.tabIndex = cell === cells[0] ? 0 : -1;
    }
    const tell = (cell) => {
      table.querySelectorAll(".met").forEach((other) => other.classList.remove("met"));
      told.textContent = cell ? cell.dataset.about : "";
      if (!cell) return;
      cell.parentElement.cells[0].classList.add("met");
      table.tHead.rows[0].cells[cell.cellIndex].classList.add("met");
    };
    const cellOf = (event) => event.target.closest("td[data-about]");
    table.addEventListener("pointerover", (event) => tell(cellOf(event)));
    table.addEventListener("pointerleave", () => tell(null));
    table.addEventListener("focusin", (event) => tell(cellOf(event)));
    table.addEventListener("keydown", (event) => {
      const cell = cellOf(event);
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!cell || !step) return;
      const row = rows[rows.indexOf(cell.parentElement) + step[0]];
      const next = row && row.cells[cell.cellIndex + step[1]];
      event.preventDefault();
      if (!next || next.tagName !== "TD") return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  for (const table of document.querySelectorAll("main table")) {
    if (table.classList.contains("confusion")) telling(table);
    else if (table.tBodies[0].rows.length > 1) sortable(table);
    const least = table.classList.contains("scores") ? 2 : MANY;
    if (!table.classList.contains("confusion") && table.tBodies[0].rows.length >= least) filterable(table);
  }
}
