// The page is complete without this, as of when it was asked for. This keeps it up to date.
//
// The server has put everything into words; the fields are those of Go's types. All of it is put in as text and as attributes:
// nothing that was on the wire becomes a part of the page's structure.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // Commands are there to be copied. Where the agent is not reached over TLS or on this host, browsers have no clipboard to write to,
  // and what is selected is copied as by keyboard.
  const copy = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy") ? "Copied" : "Selected";
    }
  };
  const copies = (command) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", async () => {
      button.textContent = await copy(command.querySelector("code"));
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    command.append(button);
    command.classList.add("copies");
    return command;
  };
  document.querySelectorAll(".command").forEach(copies);
  if (!byId("finding-list")) return; // a connection's own page

  const tableEvery = 1900; // ms; the server looks at the connections every second at most
  const silence = 12000; // ms without news until the page says so; where there are many connections, it comes every 10 s

  // Making and changing elements.
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== "" && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child instanceof Node || (child !== undefined && child !== null && child !== "" && child !== false)));
    return node;
  };
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const show = (node, shown) => { node.hidden = !shown; };
  const list = (items) => items || []; // Go writes an empty list as null
  const time = (moment) => el("time", { datetime: moment.ISO }, moment.Text);

  // refill gives parent new children unless they are as they were. What had the focus keeps it, if it is still there.
  const shownAs = new WeakMap();
  const refill = (parent, value, make) => {
    const as = JSON.stringify(value);
    if (shownAs.get(parent) === as) return;
    shownAs.set(parent, as);
    parent.replaceChildren(...make());
  };

  // keep gives parent a child for each item, and leaves those alone that are there already. An item's key is its ID.
  const keep = (parent, items, make, update) => {
    const old = new Map(Array.from(parent.children, (child) => [child.dataset.id, child]));
    const focus = parent.contains(document.activeElement) ? document.activeElement : null;
    const children = items.map((item) => {
      const child = old.get(String(item.ID)) || make(item);
      update(child, item);
      return child;
    });
    if (children.length !== parent.children.length || children.some((child, i) => child !== parent.children[i])) {
      parent.replaceChildren(...children);
      if (focus && parent.contains(focus)) focus.focus({ preventScroll: true });
    }
  };

  // What is drawn.
  const draw = (drawing) => [
    ...list(drawing.Lines).map((l) => svg("path", { class: l.Class, d: l.Path })),
    ...list(drawing.Boxes).flatMap((b) => [
      svg("rect", { class: "box " + b.Class, x: b.X, y: b.Y, width: b.W, height: b.H, rx: 4 }),
      svg("text", { class: "in middle", x: b.X + b.W / 2, y: b.Y + b.H / 2 + 4 }, b.Text),
    ]),
    ...list(drawing.Texts).map((t) => svg("text", { class: t.Class, x: t.X, y: t.Y }, t.Text, t.Then && svg("tspan", { class: "phase", dx: 6 }, " " + t.Then))),
  ];

  const facts = (items) => list(items).map((f) => el("div", {},
    el("dt", {}, f.Name), el("dd", {}, f.Time ? el("time", { datetime: f.Time }, f.Value) : f.Value, f.Note && " ", f.Note && el("small", {}, f.Note))));

  // What stands above all.
  let newest;
  const head = (v) => {
    put(byId("source"), v.Source);
    put(byId("filtered"), v.Filter);
    put(byId("time"), v.Time.Text);
    byId("time").setAttribute("datetime", v.Time.ISO);
    const verdict = byId("verdict");
    verdict.className = "verdict " + (v.Trusted ? "good" : "doubt");
    put(verdict.querySelector("strong"), v.Trusted ? "Complete capture" : "Incomplete capture");
    put(verdict.querySelector("span"), v.Verdict);
    refill(byId("facts"), v.Facts, () => facts(v.Facts));
    refill(byId("states"), v.States, () => list(v.States).map((s) => el("tr", {},
      el("th", { scope: "row" }, el("i", { class: s.Class }), s.Name), el("td", { class: "n" }, s.Clients), el("td", { class: "n" }, s.Servers))));
    refill(byId("log"), v.Log, () => list(v.Log).map((e) => el("li", {},
      time(e.Time), " ", el("b", { class: e.Change }, e.Change), " ", el("span", { class: e.Severity }, e.Kind), " ", e.Text)));
    // Said to those who do not see it.
    const first = list(v.Log)[0];
    const news = first ? [first.Change, first.Kind, first.Text].join(" ") : "";
    const at = first ? first.Time.ISO + news : "";
    if (newest !== undefined && at !== newest) put(byId("news"), news);
    newest = at;
  };

  // A finding.
  const told = (f) => [
    el("p", { class: "label" }, el("span", { class: "severity" }, f.Severity), " ", el("code", {}, f.Kind)),
    el("h3", { id: "f" + f.ID + "-h" }, f.Head),
    el("p", { class: "lead" }),
    el("div", { class: "told" }, el("dl", { class: "facts" }),
      f.Next && el("div", { class: "doing" }, el("h4", {}, "What to do"), el("p", {}, f.Next, f.Command && ":"), f.Command && copies(el("pre", { class: "command" }, el("code", {}, f.Command)))),
      list(f.Holders).length > 0 && el("div", {}, el("h4", {}, "Who has them open"), el("ul", { class: "holders" }, f.Holders.map((h) => el("li", {}, h))))),
    el("details", { class: "more" }, el("summary", {}, "Why, and the evidence"),
      f.Cause && el("p", {}, f.Cause),
      list(f.Evidence).length > 0 && el("ol", { class: "evidence" },
        f.Evidence.map((e) => el("li", {}, el("span", { class: "packet" }, "packet " + e.Packet), " ", time(e.Time), " ",
          el("span", {}, e.From + " ", el("code", {}, e.Flags), e.Text && ": " + e.Text))),
        f.More && el("li", {}, "… " + f.More))),
    list(f.Links).length > 0 && el("p", { class: "links" }, "Connections",
      f.Links.flatMap((id, i) => [i ? ", " : " ", el("a", { href: "/connections/" + id }, String(id))]),
      f.Others && " and " + f.Others, ".", f.Search && " ", f.Search && el("a", { href: "/" + f.Search + "#connections" }, "Show them all")),
  ];
  const article = (f) => el("article", { id: "f" + f.ID, "aria-labelledby": "f" + f.ID + "-h", "data-id": f.ID });
  const retell = (node, f) => {
    const { Head, Rest, Facts, ...lasting } = f; // these three change with time
    const open = node.querySelector("details[open]") !== null;
    const active = document.activeElement;
    const focus = node.contains(active) ? active.getAttribute("href") || (active.matches(".command button") ? "command" : "summary") : "";
    node.className = "finding " + f.Severity;
    refill(node, lasting, () => told(f).filter(Boolean));
    if (open) node.querySelector("details").open = true;
    if (focus && !node.contains(document.activeElement)) {
      const own = { summary: "summary", command: ".command button" };
      const back = node.querySelector(own[focus] || 'a[href="' + CSS.escape(focus) + '"]');
      if (back) back.focus({ preventScroll: true });
    }
    put(node.querySelector("h3"), Head);
    put(node.querySelector(".lead"), Rest);
    show(node.querySelector(".lead"), Rest);
    refill(node.querySelector(".facts"), Facts, () => facts(Facts));
  };
  const findings = (v) => {
    refill(byId("finding-counts"), v.Counts, () => list(v.Counts).flatMap((c) => [" ", el("span", { class: c.Severity }, c.Text)]));
    show(byId("no-findings"), v.None);
    put(byId("no-findings").querySelector("span"), v.None);
    keep(byId("finding-list"), list(v.Findings), article, retell);
    show(byId("more-findings"), v.More);
    put(byId("more-findings"), v.More);
  };

  // The states over time.
  const chart = (v) => {
    put(byId("chart-t"), v.Title);
    put(byId("chart-d"), v.Desc);
    refill(byId("drawing"), [v.Lines, v.Texts], () => draw(v));
    refill(byId("numbers"), [v.Columns, v.Rows], () => [
      el("thead", {}, el("tr", {}, v.Columns.map((c, i) => el("th", { scope: "col", class: i ? "n" : "" }, c)))),
      el("tbody", {}, list(v.Rows).map((r) => el("tr", {}, r.map((c, i) => (i ? el("td", { class: "n" }, c) : el("th", { scope: "row" }, c)))))),
    ]);
  };

  // The connections. What is asked for is in the address of the page, too.
  let search = location.search;
  let asked = 0; // number of the last request
  let askedAt = performance.now();
  const table = (v) => {
    put(byId("connections-h"), v.Heading);
    put(byId("wrong"), v.Wrong);
    byId("connections-table").classList.toggle("stale", v.Wrong !== "");
    if (document.activeElement !== byId("filter-text")) byId("filter-text").value = v.Filter;
    for (const [id, to] of [["all", v.All], ["before", v.Before], ["after", v.After]]) {
      show(byId(id), to);
      byId(id).setAttribute("href", "/" + to + "#connections");
    }
    if (v.Wrong) return; // what is there is better than nothing
    put(byId("part"), v.Part);
    for (const [i, column] of v.Columns.entries()) {
      const th = byId("columns").cells[i];
      if (column.Sorted) th.setAttribute("aria-sort", column.Sorted);
      else th.removeAttribute("aria-sort");
      th.firstElementChild.setAttribute("href", "/" + column.Search + "#connections");
    }
    keep(byId("rows"), list(v.Rows), (r) => el("tr", { "data-id": r.ID }, el("th", { scope: "row" }, el("a", { href: "/connections/" + r.ID }, String(r.ID)))), cells);
  };
  const cells = (tr, r) => {
    const as = JSON.stringify(r);
    if (shownAs.get(tr) === as) return;
    shownAs.set(tr, as);
    while (tr.cells.length > 1) tr.lastElementChild.remove();
    if (r.Gone) {
      tr.append(el("td", { colspan: 11 }, "forgotten"));
      return;
    }
    tr.append(el("td", {}, r.Client), el("td", {}, r.Server),
      ...r.States.map((s) => el("td", {}, el("i", { class: s.Class }), s.Name, el("b", {}, s.Mark))),
      ...[r.For, r.Packets, r.Bytes, r.Resent, r.RTT].map((text) => el("td", { class: "n" }, text)),
      el("td", {}, r.Process), el("td", { class: r.Worst }, r.Kinds));
  };
  const load = async () => {
    const number = ++asked;
    askedAt = performance.now();
    try {
      const response = await fetch("/view/connections" + search);
      const v = await response.json();
      if (number === asked) table(v);
    } catch {
      // The stream says whether the agent is there.
    }
  };
  const ask = (to) => {
    search = to === "?" ? "" : to;
    history.replaceState(null, "", location.pathname + search + location.hash);
    load();
  };
  let typing;
  const filter = () => {
    const query = new URLSearchParams(search);
    query.delete("offset");
    query.delete("filter");
    const text = byId("filter-text").value.trim();
    if (text) query.set("filter", text);
    ask("?" + query);
  };
  byId("filter-text").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filter, 250);
  });
  byId("filter").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    filter();
  });

  // One connection, step by step.
  const dialog = byId("opened");
  let opened = 0; // its ID; 0 is none
  let ladder; // the elements that are filled in
  const ladderOf = (id) => {
    const l = {
      process: el("p", { class: "facts-line" }), gone: el("p", { class: "lead" }), findings: el("div"), notes: el("span"),
      title: svg("title", { id: "ladder-t" }), desc: svg("desc", { id: "ladder-d" }), drawing: svg("g"), missing: el("p"), why: el("div"), rows: el("tbody"),
    };
    l.svg = svg("svg", { role: "img", "aria-labelledby": "ladder-t ladder-d" }, l.title, l.desc, l.drawing);
    const columns = ["Time", "Packet", "From", "What", "Step", "Note", "Client becomes", "Server becomes"];
    l.figure = el("figure", { class: "ladder" },
      el("figcaption", { id: "ladder-caption" }, el("h4", {}, "Step by step"), " ", l.notes),
      el("div", { class: "scroll", role: "region", "aria-labelledby": "ladder-caption", tabindex: 0 }, l.svg), l.missing,
      el("details", {}, el("summary", {}, "The same as a table"), l.why,
        el("div", { class: "scroll", role: "region", "aria-label": "Steps, as a table", tabindex: 0 },
          el("table", {}, el("thead", {}, el("tr", {}, columns.map((c) => el("th", { scope: "col", class: c === "Packet" ? "n" : "" }, c)))), l.rows))));
    put(byId("opened-h"), "Connection " + id);
    byId("opened-body").replaceChildren(l.process, l.gone, l.figure, l.findings);
    return l;
  };
  const reopen = (v) => {
    put(byId("opened-h"), v.Title);
    put(ladder.gone, v.Gone);
    show(ladder.gone, v.Gone);
    put(ladder.process, "As of " + v.Time.Text + (v.Process ? ", process " + v.Process : ""));
    show(ladder.figure, v.Ladder);
    const own = list(v.Findings).map((f, i) => ({ ...f, ID: "o" + i }));
    keep(ladder.findings, own, article, retell);
    const l = v.Ladder;
    if (!l) return;
    put(ladder.notes, list(l.Notes).join(" "));
    put(ladder.title, l.Heading);
    put(ladder.desc, l.Desc);
    ladder.svg.setAttribute("viewBox", "0 0 " + l.Width + " " + l.Height);
    refill(ladder.drawing, [l.Lines, l.Boxes, l.Texts], () => draw(l));
    ladder.missing.className = l.Owed ? "owed" : "settled";
    put(ladder.missing, l.Missing);
    refill(ladder.why, l.Why, () => list(l.Why).map((why) => el("p", {}, why)));
    refill(ladder.rows, l.Rows, () => list(l.Rows).map((r) => el("tr", { class: r.Wrong ? "wrong" : "" }, el("td", {}, r.Time.Text), el("td", { class: "n" }, r.Packet),
      [r.From, r.What, r.Phase, r.Note, r.States[0], r.States[1]].map((text) => el("td", {}, text)))));
  };
  const look = async () => {
    const id = opened;
    try {
      const response = await fetch("/view/connections/" + id);
      const v = await response.json();
      if (response.ok && id === opened) reopen(v);
    } catch {
      // as above
    }
  };
  const follow = () => {
    const match = /^#c([1-9]\d*)$/.exec(location.hash);
    const id = match ? match[1] : 0;
    if (id === opened) return;
    opened = id;
    if (!id) {
      if (dialog.open) dialog.close();
      return;
    }
    ladder = ladderOf(id);
    show(ladder.figure, false);
    show(ladder.gone, false);
    if (!dialog.open) dialog.showModal();
    byId("opened-h").focus();
    look();
  };
  window.addEventListener("hashchange", follow);
  dialog.addEventListener("close", () => {
    if (!opened) return;
    const back = byId("rows").querySelector('tr[data-id="' + opened + '"] a');
    opened = 0;
    history.replaceState(null, "", location.pathname + search);
    if (back) back.focus({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // Links that lead to other pages, without script.
  document.addEventListener("click", (event) => {
    const a = event.target.closest("a");
    if (!a || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const href = a.getAttribute("href");
    const connection = /^\/connections\/(\d+)$/.exec(href);
    if (connection) {
      event.preventDefault();
      location.hash = "c" + connection[1];
    } else if (href.startsWith("/?")) {
      event.preventDefault();
      byId("filter-text").value = new URLSearchParams(a.search).get("filter") || "";
      ask(a.search || "?");
      if (!byId("connections").contains(a)) byId("connections").scrollIntoView();
    }
  });

  // The stream. A browser has few connections for one server: a page that nobody sees gives its own up.
  let source = null;
  let paused = false;
  let heard = performance.now();
  const say = () => {
    const behind = performance.now() - heard > silence;
    document.body.classList.toggle("following", !paused && !behind);
    document.body.classList.toggle("behind", !paused && behind);
    put(byId("live"), paused ? "paused" : behind ? "no news since then" : "live");
  };
  const parts = { head, findings, chart };
  const listen = () => {
    if (source || paused || document.hidden) return;
    source = new EventSource("/events");
    for (const [name, show] of Object.entries(parts)) {
      source.addEventListener(name, (event) => {
        show(JSON.parse(event.data));
        if (name !== "head") return;
        heard = performance.now();
        say();
        if (heard - askedAt >= tableEvery) {
          load();
          if (opened) look();
        }
      });
    }
    source.addEventListener("error", () => {
      say();
      if (!source || source.readyState !== EventSource.CLOSED) return; // it tries again by itself
      source = null;
      setTimeout(listen, 10000);
    });
  };
  const leave = () => {
    if (source) source.close();
    source = null;
  };
  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    if (paused) leave();
    else {
      heard = performance.now();
      listen();
    }
    say();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", listen);
  setInterval(say, 1000);
  show(byId("pause"), true);
  show(byId("filter").querySelector("button"), false); // it filters as one types; Enter works, too
  listen();
  follow();
})();
