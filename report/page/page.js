// The page is complete without this: it sorts and filters the table, and copies commands.
"use strict";
(() => {
  const table = document.getElementById("connections-table");
  const form = document.getElementById("filter");

  // Lines and headers of the table.
  if (table && form) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const value = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const compare = new Intl.Collator("en", {numeric: true}).compare;

    const sort = (header, column) => {
      const numbers = header.dataset.type === "number";
      // What is large is looked for first; names begin with A.
      const first = numbers && column > 0 ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = header.getAttribute("aria-sort") === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      for (const h of table.tHead.rows[0].cells) h.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order);
      rows.sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        return sign * (numbers ? x - y : compare(x, y));
      });
      body.append(...rows);
    };
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      button.addEventListener("click", () => sort(header, column));
      header.replaceChildren(button);
    });

    const text = document.getElementById("filter-text");
    const state = document.getElementById("filter-state");
    const kind = document.getElementById("filter-kind");
    const shown = document.getElementById("filter-count");
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const stateOf = (cell) => cell.textContent.replace(/\?+$/, "");
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let n = 0;
      for (const row of rows) {
        const keep = words.every((word) => texts.get(row).includes(word)) &&
          (!state.value || stateOf(row.cells[3]) === state.value || stateOf(row.cells[4]) === state.value) &&
          (!kind.value || row.cells[8].textContent.split(", ").includes(kind.value));
        row.hidden = !keep;
        if (keep) n++;
      }
      shown.textContent = n + " of " + rows.length + " shown";
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    // A link to a line that is filtered away would lead nowhere.
    window.addEventListener("hashchange", () => {
      const row = document.getElementById(location.hash.slice(1));
      if (row && row.hidden) {
        form.reset();
        filter();
        row.scrollIntoView();
      }
    });
    form.hidden = false;
    filter();
  }

  // Commands are there to be copied.
  if (navigator.clipboard) {
    for (const command of document.querySelectorAll(".command")) {
      const code = command.querySelector("code");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.setAttribute("aria-label", "Copy the command");
      button.addEventListener("click", () => {
        navigator.clipboard.writeText(code.textContent).then(() => {
          button.textContent = "Copied";
          setTimeout(() => { button.textContent = "Copy"; }, 2000);
        });
      });
      command.append(button);
      command.classList.add("copies");
    }
  }

  // Paper has nothing to open.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
