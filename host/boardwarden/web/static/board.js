// One board in depth: graphs, tables, what happened and what it printed.

import { Chart, thinned } from "./chart.js";
import { h, setText } from "./dom.js";
import { boardLink, stateMark } from "./fleet.js";
import { duration, fullMoment, moment, percent, size } from "./format.js";
import {
  askCancel, askCollect, askInterval, askPolicy, askRelease, askThreshold, showRequests,
} from "./requests.js";
import { follow, serverTime } from "./server.js";

const SPANS = { "2m": ["2 min", 120], "10m": ["10 min", 600], "1h": ["1 h", 3600], "24h": ["24 h", 86400], "7d": ["7 d", 604800] };
const FIGURES = ["live", "used", "largest", "cpu", "lag", "fragmentation"]; // of a point
const THIN_S = 60; // how often points that grow old are thinned
const MAX_CONSOLE = 60000; // characters
const LEAST_LAG_S = 0.02; // the upper edge, where all steps are shorter

/** Show a board in an element; return a function that ends that. */
export function showBoard(main, context, id) {
  const view = new Board(main, context, id);
  return () => view.close();
}

class Board {
  constructor(main, { session, onState, onRefused, parameters }, id) {
    this.id = id;
    this.session = session;
    this.mayControl = session.right === "control";
    this.shown = {};
    this.series = Object.fromEntries(FIGURES.map((name) => [name, []]));
    this.end_s = 0;
    this.thinned_s = 0;
    const span = parameters.get("span");
    this.wasChosen = span in SPANS; // else as much as there is to see
    this.span = this.wasChosen ? span : "2m";
    this.build(main);
    this.end = follow(`/api/board/events?board=${encodeURIComponent(id)}`, {
      board: (data) => this.onBoard(data),
      history: (data) => this.onHistory(data),
      begin: () => this.clearConsole(),
      console: ({ text }) => this.onConsole(text),
    }, onState, onRefused);
    this.timer = setInterval(() => this.redraw(), 1000);
  }

  close() {
    this.end();
    this.endLog();
    clearInterval(this.timer);
  }

  build(main) {
    this.name = h("h1", {}, this.id);
    this.state = h("span", {});
    this.note = h("p", { class: "note" });
    this.facts = h("p", { class: "facts" });
    this.spans = h("div", { class: "chips", role: "group", "aria-label": "Time span of the graphs" },
      Object.entries(SPANS).map(([key, [text]]) => h("button", {
        type: "button", class: "chip span", "data-span": key, onclick: () => this.choose(key),
      }, text)));
    this.makeCharts();
    this.cards = {};
    const card = (key, title, ...extra) => {
      const body = h("div", { class: "cardbody" });
      const element = h("section", { class: `card c-${key}`, "aria-labelledby": `card-${key}` },
        h("div", { class: "cardhead" }, h("h2", { id: `card-${key}` }, title), ...extra), body);
      this.cards[key] = { element, body };
      return element;
    };
    const control = (text, action) => (this.mayControl
      ? h("button", { type: "button", onclick: action }, text) : null);
    this.console = h("pre", { class: "console", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "What the application printed" });
    const log = h("section", { class: "card c-log", "aria-label": "Requests" });
    this.endLog = showRequests(log, this.id);
    this.pending = h("p", { class: "empty" }, "Waiting for the board…");
    this.content = h("div", { class: "board", hidden: true },
      h("section", { class: "card c-charts", "aria-label": "Graphs" }, this.spans, h("div", { class: "chartgrid" },
        this.charts.map((each) => each.element))),
      card("memory", "Memory", control("Collect garbage…", () => askCollect(this.id))),
      card("load", "Load"),
      card("tasks", "Tasks"),
      card("storage", "Storage and network"),
      card("agent", "The agent's own cost", control("Interval…", () => askInterval(this.id, this.interval()))),
      card("trends", "Trends of the last minute"),
      card("operations", "Operations"),
      card("leases", "Leases"),
      card("thresholds", "Thresholds and limits",
        control("Watch another…", () => askThreshold(this.id, this.session.metrics, null)),
        control("Policy…", () => askPolicy(this.id))),
      card("sessions", "Sessions"),
      card("events", "Events"),
      card("crashes", "Crashes"),
      h("section", { class: "card c-printed", "aria-labelledby": "card-printed" },
        h("div", { class: "cardhead" }, h("h2", { id: "card-printed" }, "Console")), this.console),
      card("about", "Board and link"),
      card("unknown", "What this board cannot measure"),
      log);
    main.replaceChildren(
      h("nav", { "aria-label": "Where this is" }, h("a", { href: "#/" }, "← Fleet")),
      h("div", { class: "boardhead" }, h("div", { class: "headline" }, this.name, this.state), this.note, this.facts),
      this.pending, this.content);
    this.show(this.span);
  }

  makeCharts() {
    const total = () => this.shown.memory?.total ?? 0;
    const highest = (series) => series.reduce((most, { points }) =>
      points.reduce((a, [, value]) => Math.max(a, value), most), 0);
    this.charts = [
      new Chart({
        name: "memory", title: "Memory", write: size,
        series: [
          { name: "used", label: "used", kind: "area" },
          { name: "live", label: "live", kind: "area" },
          { name: "largest", label: "largest free block", kind: "line" },
        ],
        top: (series) => total() || highest(series),
        marks: () => (this.shown.memory?.marks ?? []).map(([kind, share, text]) => [kind, share * total(), text]),
      }),
      new Chart({
        name: "cpu", title: "CPU", write: percent, top: () => 1,
        series: [{ name: "cpu", label: "busy", kind: "area" }],
      }),
      new Chart({
        name: "lag", title: "Longest step of the loop", write: duration,
        series: [{ name: "lag", label: "longest step", kind: "area" }],
        top: (series) => nice(Math.max(LEAST_LAG_S, highest(series))),
      }),
      new Chart({
        name: "fragmentation", title: "Fragmentation", write: percent, top: () => 1,
        series: [{ name: "fragmentation", label: "free memory outside the largest block", kind: "area" }],
      }),
    ];
  }

  choose(key) {
    this.wasChosen = true;
    this.show(key);
    history.replaceState(null, "", `${boardLink(this.id)}?span=${key}`);
  }

  show(key) {
    this.span = key;
    for (const button of this.spans.children) {
      button.setAttribute("aria-pressed", String(button.dataset.span === key));
    }
    this.redraw();
  }

  interval() {
    return this.shown.interval ? duration(this.shown.interval) : "1 s";
  }

  // --- what the server sends --------------------------------------------------------------------

  onHistory({ series }) {
    this.series = { ...this.series, ...series };
    const first = Math.min(...Object.values(series).map((points) => points[0]?.[0] ?? Infinity));
    if (!this.wasChosen && serverTime() - first > SPANS["2m"][1]) this.show("10m");
    this.redraw();
  }

  /** A stream, or another connection to the board, begins with what was printed lately. */
  clearConsole() {
    this.printed = "";
    this.console.textContent = "";
  }

  onConsole(text) {
    const { console } = this;
    const atEnd = console.scrollHeight - console.scrollTop - console.clientHeight < 30;
    const all = this.printed ? this.printed + text : text;
    this.printed = all.length > MAX_CONSOLE ? all.slice(all.indexOf("\n", all.length - MAX_CONSOLE) + 1) : all;
    console.textContent = this.printed;
    if (atEnd) console.scrollTop = console.scrollHeight;
  }

  onBoard(data) {
    const { point, ...sections } = data;
    Object.assign(this.shown, sections);
    if (point) {
      const [at, ...values] = point;
      FIGURES.forEach((name, place) => {
        const points = this.series[name];
        if (values[place] === null) return;
        while (points.at(-1)?.[0] > at) points.pop(); // the server's clock was set back
        if (points.at(-1)?.[0] === at) return;
        points.push([at, values[place]]);
      });
      if (Math.abs(at - this.thinned_s) >= THIN_S) {
        this.thinned_s = at;
        for (const name of FIGURES) this.series[name] = thinned(this.series[name], at);
      }
    }
    if ("row" in sections) this.renderHead();
    for (const key of Object.keys(sections)) this.render(key);
    const isHere = "memory" in this.shown && this.shown.row !== null;
    this.content.hidden = !isHere;
    this.pending.hidden = isHere;
    if (point) this.redraw();
  }

  redraw() {
    if (this.content.hidden || document.hidden) return;
    const row = this.shown.row;
    const isGone = row && (row.state === "lost" || row.state === "asleep");
    if (!document.body.classList.contains("stale") && !isGone) this.end_s = serverTime();
    else this.end_s ||= serverTime();
    for (const chart of this.charts) chart.show(this.series, SPANS[this.span][1], this.end_s);
  }

  // --- the head ---------------------------------------------------------------------------------

  renderHead() {
    const { row } = this.shown;
    if (row === null) {
      setText(this.pending, "This server follows no board of this address.");
      this.content.classList.add("old");
      return;
    }
    document.title = `${row.name} · boardwarden`;
    setText(this.name, row.name);
    this.state.replaceChildren(stateMark(row.state));
    const isGone = row.state === "lost" || row.state === "asleep";
    this.content.classList.toggle("old", isGone);
    this.note.className = `note ${row.state}`;
    if (isGone) {
      this.note.replaceChildren(`${row.state === "lost" ? "Link lost" : "Asleep"} since `,
        h("time", { title: fullMoment(row.since) }, moment(row.since)), row.note ? `: ${row.note}` : "",
        /[.?!]$/.test(row.note) ? "" : ".", "memory" in this.shown ? " The figures are of then." : "");
    } else {
      setText(this.note, row.note);
    }
    this.note.hidden = !this.note.textContent;
    setText(this.pending, row.state === "lost" ? "There is nothing to show until the board answers; it is tried again." : "Waiting for the board…");
    const started = row.started === null || isGone ? "" : ` · up ${duration(Math.max(1, Math.round(serverTime() - row.started)))}`;
    setText(this.facts, `${row.id} · ${row.machine} · MicroPython ${row.firmware} · agent ${row.agent}${started}`);
  }

  // --- the cards --------------------------------------------------------------------------------

  render(key) {
    const { shown, cards } = this;
    const put = (name, ...children) => fill(cards[name].body, children.flat(Infinity).filter(Boolean));
    const old = cards[key]?.body.querySelector(".scroll");
    const draw = {
      memory: () => put("memory", memoryBar(shown.memory), pairs(shown.memory.rows)),
      load: () => put("load", pairs(shown.load)),
      tasks: () => put("tasks", shown.tasks.blocks ? h("p", { class: "warning" }, shown.tasks.blocks) : "",
        table(shown.tasks, "Nothing is metered: the application makes no task by warden.spawn().", null, old)),
      storage: () => this.renderStorage(),
      network: () => this.renderStorage(),
      agent: () => put("agent", pairs(shown.agent)),
      trends: () => put("trends", pairs(shown.trends.slice(1))),
      operations: () => put("operations", this.operations(old)),
      leases: () => put("leases", table(shown.leases, "No leases.", this.mayControl && {
        text: "End…", action: (id, cells) => askRelease(this.id, id, `${cells[1]}, ${cells[2]}${cells[3] ? `, of ${cells[3]}` : ""}`),
      }, old)),
      sessions: () => put("sessions", table(shown.sessions, "No sessions.", null, old)),
      thresholds: () => this.renderThresholds(),
      limits: () => this.renderThresholds(),
      events: () => put("events", this.events()),
      crashes: () => put("crashes", crashes(shown.crashes)),
      about: () => put("about", pairs([...shown.about, ...shown.link])),
      link: () => draw.about(),
      unknown: () => {
        cards.unknown.element.hidden = shown.unknown.length === 0;
        put("unknown", pairs(shown.unknown));
      },
    };
    draw[key]?.();
  }

  renderStorage() {
    const { storage, network, no_storage: none } = this.shown;
    this.cards.storage.body.replaceChildren(
      ...storage.map((each) => h("div", { class: "mount" },
        h("p", {}, h("b", {}, each.mount), ` ${each.text}`, each.writes ? h("small", {}, ` · ${each.writes}`) : null),
        bar(each.share))),
      ...none.map((text) => h("p", {}, `Storage: ${text}`)),
      pairs(network.map((text) => ["Network", text])));
  }

  operations(old) {
    const { operations } = this.shown;
    const place = operations.head.indexOf("done");
    const found = table(operations, this.shown.decides ? "No operations." : "This board only measures: its application began no operation yet.", this.mayControl && {
      text: "Cancel…", action: (id, cells) => askCancel(this.id, id, `${cells[1]}, ${cells[2]}, ${cells[place]} done`),
    }, old);
    found.querySelectorAll?.("tbody tr").forEach((row, at) => {
      const share = operations.progress[at];
      row.children[place].querySelector(".bar")?.remove();
      if (share !== null) row.children[place].append(bar(share));
    });
    return found;
  }

  renderThresholds() {
    const { thresholds, limits } = this.shown;
    const found = table({ ...thresholds, ids: thresholds.edit }, "Nothing is watched.", this.mayControl && {
      text: "Change…", action: (each) => askThreshold(this.id, this.session.metrics, each),
    });
    const words = { clear: "clear", warn: "warned", critical: "critical" };
    found.querySelectorAll?.("tbody tr").forEach((row, at) => {
      const level = thresholds.levels[at];
      row.children[1].replaceChildren(h("span", { class: `state ${words[level] ?? ""}` }, level));
    });
    this.cards.thresholds.body.replaceChildren(found, pairs(limits));
  }

  events() {
    const { events } = this.shown;
    if (!events.length) return [h("p", { class: "nothing" }, "No events in this boot.")];
    return [h("ol", { class: "events", tabindex: "0", "aria-label": "Events, the newest first" }, events.map(([at, text, up]) => h("li", {},
      at === null ? h("span", {}, up) : h("time", { title: `${fullMoment(at)}, ${up}` }, moment(at)),
      h("span", { class: "what" }, text))))];
  }
}

/** Return the next of 1, 2, 4, 6, 8 and 10 times a power of ten that is not less. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((each) => each * power).find((each) => each >= value * 0.999);
}

function pairs(rows) {
  return h("dl", {}, rows.map(([label, text]) => [h("dt", {}, label), h("dd", {}, text)]));
}

function bar(share) {
  const inner = h("span", { class: "bar-fill" });
  inner.style.width = `${Math.max(0, Math.min(100, share ?? 0))}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, inner);
}

/** Return a bar of the memory: live, garbage, and where the thresholds are. */
function memoryBar({ live, used, total, marks }) {
  const outer = h("div", { class: "memorybar", "aria-hidden": "true" });
  if (!total) return outer;
  const part = (kind, share) => {
    const element = h("span", { class: kind });
    element.style.width = `${Math.max(0, Math.min(100, share * 100))}%`;
    return element;
  };
  if (used !== null) outer.append(part("used", used / total));
  if (live !== null) outer.append(part("live", live / total));
  for (const [kind, share] of marks) {
    const mark = h("i", { class: kind });
    mark.style.left = `${share * 100}%`;
    outer.append(mark);
  }
  return outer;
}

/**
 * Put children into an element, unless they are there: what has the focus, or is being clicked on, must
 * not be taken away; what was scrolled stays so.
 */
function fill(element, children) {
  if (children.length === element.childNodes.length && children.every((each, at) => each === element.childNodes[at])) return;
  const scrolled = (change) => element.querySelectorAll(".scroll, .events, pre").forEach(change);
  const places = [];
  scrolled((each) => places.push([each.scrollLeft, each.scrollTop]));
  element.replaceChildren(...children);
  scrolled((each, at) => each.scrollTo(...(places[at] ?? [0, 0])));
}

/** Return a table, or a line where it has no rows; `old`, with the new texts, where it has the same. action: a button in each. */
function table({ head, rows, ids = [] }, nothing, action, old) {
  if (!rows.length) return h("p", { class: "nothing" }, nothing);
  const key = JSON.stringify([head, rows.map((cells) => cells[0]), Boolean(action)]);
  const whole = old?.dataset.key === key ? old : newTable(key, head, rows, action);
  whole.given = { rows, ids };
  whole.querySelectorAll("tbody tr").forEach((row, at) => {
    rows[at].forEach((text, place) => setText(row.children[place], text));
  });
  return whole;
}

function newTable(key, head, rows, action) {
  const whole = h("div", { "data-key": key, class: "scroll", tabindex: "0", role: "group", "aria-label": `table of ${rows.length}` }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)),
      action ? h("th", { scope: "col", class: "act" }, h("span", { class: "unseen" }, "request")) : null)),
    h("tbody", {}, rows.map((cells, at) => h("tr", {},
      cells.map(() => h("td", {})),
      action ? h("td", { class: "act" }, h("button", {
        type: "button", class: "small", "aria-label": `${action.text} ${cells[0]}`,
        onclick: () => action.action(whole.given.ids[at], whole.given.rows[at]),
      }, action.text)) : null)))));
  return whole;
}

function crashes(found) {
  if (!found.length) return [h("p", { class: "nothing" }, "None is kept. The board keeps them where its application uses warden.run().")];
  return [h("ol", { class: "crashlist" }, found.map(({ title, bad, lines }) => h("li", { class: bad ? "bad" : "" },
    h("p", {}, title), lines.length ? h("pre", { tabindex: "0" }, lines.join("\n")) : null)))];
}
