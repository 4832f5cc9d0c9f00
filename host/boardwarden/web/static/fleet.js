// The fleet: every board as a row, the worst first, and what changed lately.

import { drawSpark, spark } from "./chart.js";
import { h, setText } from "./dom.js";
import { duration, fullMoment, moment, NOTHING } from "./format.js";
import { showRequests } from "./requests.js";
import { follow, serverTime } from "./server.js";

const POINTS = 60;
const POINT_MS = 2000;
const HELD_MS = 10000; // so long a board that is better keeps its place: rows must not jump about
const FIRST = 50; // rows, until more are asked for
const CHANGES = window.matchMedia("(max-width: 900px)").matches ? 3 : 6;
const GROUPS = { "": "nothing", firmware: "MicroPython", agent: "agent", policy: "policy", machine: "hardware" };
const COLUMNS = {
  state: "State", name: "Board", memory: "Live memory", cpu: "CPU", lag: "Longest step",
  operations: "Operations", up: "Up",
};

/** Show the fleet in an element; return a function that ends that. */
export function showFleet(main, context) {
  document.title = "Fleet · boardwarden";
  const view = new Fleet(main, context);
  return () => view.close();
}

/** Return the link to a board's view. */
export function boardLink(id) {
  return `#/board/${encodeURIComponent(id)}`;
}

/** Return a state as a word with its mark. */
export function stateMark(state) {
  return h("span", { class: `state ${state}` }, state);
}

class Fleet {
  constructor(main, { session, onState, onRefused, parameters }) {
    this.states = session.states;
    this.boards = new Map(); // by id: {row, past, shown}
    this.changes = [];
    this.came = false;
    this.limit = FIRST;
    this.allChanges = false;
    this.wanted = new Set((parameters.get("state") ?? "").split(",").filter(Boolean));
    this.order = "";
    this.build(main, parameters);
    this.visible = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const board = this.boards.get(target.dataset.board);
        if (board?.shown) {
          board.shown.isVisible = isIntersecting;
          if (isIntersecting) this.drawSparks(board);
        }
      }
    }, { rootMargin: "200px" });
    this.end = follow("/api/fleet/events", {
      fleet: (data) => this.onFleet(data),
      rows: (data) => this.onRows(data),
    }, onState, onRefused);
    this.timer = setInterval(() => this.advance(), POINT_MS);
  }

  close() {
    this.end();
    this.endLog();
    clearInterval(this.timer);
    this.visible.disconnect();
  }

  build(main, parameters) {
    this.title = h("h1", {}, "Fleet");
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "States that are shown" });
    this.search = h("input", {
      type: "search", id: "search", placeholder: "name, firmware, what is wrong…",
      value: parameters.get("words") ?? "", oninput: () => this.filter(),
    });
    this.group = h("select", { id: "group", onchange: () => this.filter() },
      Object.entries(GROUPS).map(([value, text]) => h("option", { value }, text)));
    this.group.value = parameters.get("group") ?? "";
    this.count = h("p", { class: "count", role: "status" });
    this.changesList = h("ol", { class: "changes" });
    this.moreChanges = h("button", {
      type: "button", class: "quiet", "aria-expanded": "false", onclick: () => {
        this.allChanges = !this.allChanges;
        this.renderChanges();
      },
    });
    this.body = h("div", { class: "bodies", role: "presentation" });
    this.table = h("table", { class: "fleet", role: "table", "aria-label": "Boards" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        Object.entries(COLUMNS).map(([key, name]) => h("th", {
          class: `cell-${key}`, role: "columnheader", scope: "col",
        }, name)))));
    this.more = h("button", { type: "button", class: "more", onclick: () => this.showMore() });
    this.empty = h("div", { class: "empty" });
    const log = h("section", { class: "card", "aria-label": "Requests" });
    this.endLog = showRequests(log, "");
    main.replaceChildren(
      h("div", { class: "headline" }, this.title, this.chips),
      h("section", { class: "card", "aria-labelledby": "changed" },
        h("div", { class: "cardhead" }, h("h2", { id: "changed" }, "What changed lately"), this.moreChanges),
        this.changesList),
      h("section", { "aria-label": "Boards" },
        h("div", { class: "filters" },
          h("div", { class: "field grow" }, h("label", { for: "search" }, "Filter by words"), this.search),
          h("div", { class: "field" }, h("label", { for: "group" }, "Group by"), this.group),
          this.count),
        this.table, this.more, this.empty),
      log,
    );
  }

  // --- what the server sends --------------------------------------------------------------------

  onFleet({ rows, changes }) {
    const before = this.boards;
    this.boards = new Map();
    for (const row of rows) {
      const { past, ...rest } = row;
      this.boards.set(row.id, { row: rest, past, shown: before.get(row.id)?.shown });
      before.delete(row.id);
    }
    for (const board of before.values()) board.shown?.element.remove();
    this.changes = changes;
    this.came = true;
    this.order = "";
    this.render();
    this.renderChanges();
  }

  onRows({ rows, gone, changes }) {
    let isOrdered = gone.length === 0;
    for (const row of rows) {
      const board = this.boards.get(row.id);
      if (board === undefined) {
        this.boards.set(row.id, { row, past: { memory: [], cpu: [] } });
        isOrdered = false;
        continue;
      }
      const old = board.row;
      if (this.rank(row.state) > this.rank(old.state)) {
        board.held = { rank: this.rankOf(board), until: Date.now() + HELD_MS };
      }
      board.row = row;
      isOrdered &&= old.state === row.state && old.note === row.note && old[this.group.value] === row[this.group.value];
      if (board.shown) this.update(board);
    }
    for (const id of gone) {
      this.boards.get(id)?.shown?.element.remove();
      this.boards.delete(id);
    }
    if (!isOrdered) this.render();
    if (changes.length) {
      this.changes = [...this.changes, ...changes].slice(-60);
      this.renderChanges();
    }
  }

  rank(state) {
    return this.states.indexOf(state);
  }

  /** Return a board's place in the order: of its state, or for a while of a worse one before. */
  rankOf({ row, held }) {
    const rank = this.rank(row.state);
    return held && held.until > Date.now() ? Math.min(rank, held.rank) : rank;
  }

  /** Add a point to each small graph, as the server does for who comes later. */
  advance() {
    if (document.body.classList.contains("stale")) return;
    const now = serverTime();
    let isOrdered = true;
    for (const board of this.boards.values()) {
      const { row, past } = board;
      if (board.held && board.held.until <= Date.now()) {
        board.held = undefined;
        isOrdered = false;
      }
      const isLost = row.state === "lost";
      for (const [name, share] of [["memory", row.memory_share], ["cpu", row.cpu_share]]) {
        past[name].push(isLost ? null : share);
        if (past[name].length > POINTS) past[name].shift();
      }
      if (board.shown?.isVisible) {
        this.drawSparks(board);
        setText(board.shown.texts.up, up(row, now));
      }
    }
    if (!isOrdered) this.render();
  }

  // --- which rows are shown ---------------------------------------------------------------------

  filter() {
    const parameters = new URLSearchParams();
    if (this.search.value) parameters.set("words", this.search.value);
    if (this.group.value) parameters.set("group", this.group.value);
    if (this.wanted.size) parameters.set("state", [...this.wanted].join(","));
    history.replaceState(null, "", `#/${parameters.size ? `?${parameters}` : ""}`);
    this.limit = FIRST;
    this.render();
  }

  showMore() {
    this.limit *= 10;
    this.render();
  }

  /** Return the boards that fit the filter, the worst first. */
  chosen() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const group = this.group.value;
    const found = [];
    for (const board of this.boards.values()) {
      const { row } = board;
      if (this.wanted.size && !this.wanted.has(row.state)) continue;
      if (words.length) {
        const text = `${row.name} ${row.id} ${row.state} ${row.note} ${row.machine} ${row.firmware} ${row.agent} ${row.policy}`.toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      found.push(board);
    }
    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    const ranks = new Map(found.map((board) => [board, this.rankOf(board)]));
    const worst = new Map(); // of each group: the one with the worst board comes first
    for (const [{ row }, rank] of ranks) worst.set(row[group], Math.min(rank, worst.get(row[group]) ?? rank));
    return found.sort((a, b) => (group ? worst.get(a.row[group]) - worst.get(b.row[group])
      || compare(a.row[group], b.row[group]) : 0)
      || ranks.get(a) - ranks.get(b) || compare(a.row.name, b.row.name));
  }

  render() {
    this.renderChips();
    const found = this.chosen();
    const rows = found.slice(0, this.limit);
    const group = this.group.value;
    const order = `${group}|${rows.map(({ row }) => (group ? `${row[group]}:` : "") + row.id).join("|")}`;
    if (order !== this.order) {
      this.order = order;
      this.arrange(rows, group, found);
    }
    const all = this.boards.size;
    setText(this.count, found.length === all ? `${boards(all)}` : `${found.length} of ${boards(all)}`);
    this.more.hidden = found.length <= rows.length;
    setText(this.more, `Show ${Math.min(found.length, this.limit * 10) - rows.length} more`);
    this.table.hidden = rows.length === 0;
    this.renderEmpty(found.length);
  }

  arrange(rows, group, found) {
    const bodies = [];
    let body = null;
    let last = null;
    for (const board of rows) {
      const name = group ? board.row[group] : "";
      if (body === null || name !== last) {
        last = name;
        body = h("tbody", { role: "rowgroup" });
        if (group) {
          const count = found.filter(({ row }) => row[group] === name).length;
          body.append(h("tr", { class: "group", role: "row" },
            h("th", { colspan: Object.keys(COLUMNS).length, role: "rowheader", scope: "rowgroup" }, `${GROUPS[group]} ${name}: ${boards(count)}`)));
        }
        bodies.push(body);
      }
      if (!board.shown) {
        board.shown = this.makeRow(board.row.id);
        this.visible.observe(board.shown.element);
      }
      this.update(board);
      body.append(board.shown.element);
    }
    const focused = document.activeElement;
    for (const old of [...this.table.tBodies]) old.remove();
    this.table.append(...bodies);
    const kept = new Set(rows);
    for (const board of this.boards.values()) {
      if (board.shown && !kept.has(board)) {
        this.visible.unobserve(board.shown.element);
        board.shown = undefined;
      }
    }
    if (focused && focused !== document.activeElement && this.table.contains(focused)) focused.focus();
  }

  renderChips() {
    const counts = Object.fromEntries(this.states.map((state) => [state, 0]));
    for (const { row } of this.boards.values()) counts[row.state] += 1;
    const shown = this.states.filter((state) => counts[state] || this.wanted.has(state));
    const signature = shown.map((state) => `${state}${counts[state]}${this.wanted.has(state)}`).join();
    if (signature === this.chipsShown) return;
    this.chipsShown = signature;
    const focused = document.activeElement?.dataset?.state;
    this.chips.replaceChildren(...shown.map((state) => h("button", {
      type: "button", class: `chip ${state}`, "data-state": state,
      "aria-pressed": String(this.wanted.has(state)), onclick: () => {
        if (!this.wanted.delete(state)) this.wanted.add(state);
        this.filter();
      },
    }, h("b", {}, String(counts[state])), ` ${state}`)));
    if (focused) this.chips.querySelector(`[data-state="${focused}"]`)?.focus();
  }

  renderEmpty(count) {
    this.empty.hidden = !this.came || count > 0;
    if (this.empty.hidden) return;
    this.empty.replaceChildren(...(this.boards.size ? [
      h("p", {}, "No board fits this filter."),
      h("button", { type: "button", onclick: () => {
        this.search.value = "";
        this.wanted.clear();
        this.filter();
      } }, "Show all boards"),
    ] : [
      h("h2", {}, "No boards yet"),
      h("p", {}, "This server follows a broker that knows no board, or that it does not reach: its log says so. A board shows up here by itself as soon as its application runs ", h("code", {}, "warden.MqttLink"), " with this broker; the guide “Over MQTT” has an example."),
      h("p", {}, "For boards at ports and addresses, name them: ", h("code", {}, "boardwarden serve --page 127.0.0.1:8080 --board /dev/ttyACM0"), "."),
    ]));
  }

  // --- one row ----------------------------------------------------------------------------------

  makeRow(id) {
    const cell = (name, ...children) => h("td", { class: name, role: "cell" }, ...children);
    const name = h("a", { href: boardLink(id) });
    const note = h("p", { class: "note" });
    const [memory, cpu] = [spark("memory"), spark("cpu")];
    const texts = Object.fromEntries(["memory", "cpu", "lag", "operations", "up"].map((key) => [key, h("span", { class: "figure" })]));
    const state = h("td", { class: "cell-state", role: "cell" });
    const element = h("tr", { role: "row", "data-board": id },
      state,
      h("th", { class: "cell-name", role: "rowheader", scope: "row" }, name, note),
      cell("cell-memory", h("span", { class: "graph" }, memory.element), label("live"), texts.memory),
      cell("cell-cpu", h("span", { class: "graph" }, cpu.element), label("CPU"), texts.cpu),
      cell("cell-lag", label("longest step"), texts.lag),
      cell("cell-operations", label("operations"), texts.operations),
      cell("cell-up", label("up"), texts.up));
    return { element, state, name, note, memory, cpu, texts, isVisible: false };
  }

  update({ row, shown }) {
    if (shown.stateShown !== row.state) {
      shown.stateShown = row.state;
      shown.state.replaceChildren(stateMark(row.state));
      shown.element.className = row.state;
    }
    setText(shown.name, row.name);
    const isGone = row.state === "lost" || row.state === "asleep";
    const since = isGone ? `since ${moment(row.since)}${row.note ? ": " : ""}` : "";
    setText(shown.note, `${since}${row.note}`);
    shown.note.title = isGone ? fullMoment(row.since) : "";
    shown.note.hidden = shown.note.textContent === "";
    for (const key of ["memory", "cpu", "lag", "operations"]) setText(shown.texts[key], row[key]);
    setText(shown.texts.up, up(row, serverTime()));
  }

  drawSparks({ shown, past }) {
    drawSpark(shown.memory, past.memory, POINTS);
    drawSpark(shown.cpu, past.cpu, POINTS);
  }

  // --- what changed lately ----------------------------------------------------------------------

  renderChanges() {
    const newest = [...this.changes].reverse();
    const shown = newest.slice(0, this.allChanges ? newest.length : CHANGES);
    this.moreChanges.hidden = newest.length <= CHANGES;
    this.moreChanges.setAttribute("aria-expanded", String(this.allChanges));
    setText(this.moreChanges, this.allChanges ? "Show fewer" : `Show all ${newest.length}`);
    if (!shown.length) {
      this.changesList.replaceChildren(h("li", { class: "nothing" }, "Nothing since this server began to follow them."));
      return;
    }
    this.changesList.replaceChildren(...shown.map((each) => h("li", {},
      h("time", { title: fullMoment(each.at) }, moment(each.at)),
      stateMark(each.state),
      h("a", { href: boardLink(each.id) }, each.name),
      h("span", { class: "what" }, each.text))));
  }
}

function label(text) {
  return h("span", { class: "inline-label" }, `${text} `);
}

function boards(count) {
  return count === 1 ? "1 board" : `${count} boards`;
}

function up(row, now) {
  if (row.started === null || row.state === "lost") return NOTHING;
  return duration(Math.max(1, Math.round(now - row.started)));
}
