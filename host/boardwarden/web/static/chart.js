// Draws figures over time: small graphs for a row, and charts with axes for a board.

import { h, svg } from "./dom.js";
import { fullMoment, moment, tick } from "./format.js";

const SPARK = { width: 100, height: 24 };
const MARGIN = { left: 58, right: 12, top: 10, bottom: 22 };
const GAP_S = 15; // between two points of seconds; coarser ones are of the board's own history
const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
const RECENT_S = 600; // of which a graph that is open for long keeps every point
const DAY_S = 86400;
const LONGEST_S = 7 * DAY_S; // that a graph shows

/** Return a small graph without words: the figure stands beside it. */
export function spark(kind) {
  const line = svg("path", { class: "line" });
  const area = svg("path", { class: "area" });
  const element = svg("svg", {
    class: `spark ${kind}`, viewBox: `0 0 ${SPARK.width} ${SPARK.height}`,
    preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false",
  }, area, line);
  return { element, line, area };
}

/** Draw shares, in percent, into a small graph of `count` points; null is a gap. */
export function drawSpark(graph, shares, count) {
  const step = SPARK.width / (count - 1);
  let line = "";
  let area = "";
  let begin = null;
  const first = count - shares.length;
  for (let at = 0; at <= shares.length; at++) {
    const share = shares[at];
    const x = ((first + at) * step).toFixed(1);
    if (share === null || share === undefined) {
      if (begin !== null) {
        area += `V${SPARK.height}H${begin}Z`;
        begin = null;
      }
      continue;
    }
    const y = (SPARK.height - 1 - (share / 100) * (SPARK.height - 2)).toFixed(1);
    line += `${begin === null ? "M" : "L"}${x} ${y}`;
    area += begin === null ? `M${x} ${SPARK.height}V${y}` : `L${x} ${y}`;
    if (begin === null) begin = x;
  }
  graph.line.setAttribute("d", line);
  graph.area.setAttribute("d", area);
}

/**
 * A chart of several figures over time.
 *
 * options: title; series [{name, label, kind: "area"|"line"}]; write(value): a figure as text;
 * top(series): the value at the upper edge; marks(): [[kind, value, text]].
 * data: {name: [[seconds since the epoch, figure]…]}, oldest first.
 */
export class Chart {
  constructor(options) {
    this.options = options;
    this.data = {};
    this.span = 600;
    this.pointer = null;
    this.readout = h("p", { class: "readout" });
    this.plot = h("div", { class: "plot" });
    this.element = h("figure", { class: `chart ${options.name}` },
      h("figcaption", {}, options.title), this.readout, this.plot);
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
  }

  point(event) {
    this.pointer = event.clientX - this.plot.getBoundingClientRect().left;
    this.draw();
  }

  /** Draw the last `span` seconds before `end`. */
  show(data, span, end) {
    this.data = data;
    this.span = span;
    this.end = end;
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth;
    const height = this.plot.clientHeight;
    if (!width || !height || !this.end) return;
    const begin = this.end - this.span;
    const visible = this.options.series.map((each) => ({
      ...each, points: (this.data[each.name] ?? []).filter(([at]) => at >= begin - GAP_S),
    }));
    const top = this.options.top(visible) || 1;
    const x = (at) => MARGIN.left + ((at - begin) / this.span) * (width - MARGIN.left - MARGIN.right);
    const room = height - MARGIN.top - MARGIN.bottom;
    const y = (value) => MARGIN.top + (1 - Math.min(1, value / top)) * room;
    const bottom = y(0);
    const picture = svg("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.words(visible),
    });
    this.axes(picture, { begin, top, x, y, width, bottom });
    for (const each of visible) {
      const clipped = each.points.filter(([at]) => at >= begin);
      const { line, area } = paths(clipped, x, y, bottom);
      if (each.kind === "area") picture.append(svg("path", { class: `area ${each.name}`, d: area }));
      picture.append(svg("path", { class: `line ${each.name}`, d: line }));
    }
    for (const [kind, value, text] of this.options.marks?.() ?? []) {
      if (value > top) continue;
      picture.append(
        svg("line", { class: `mark ${kind}`, x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
        svg("text", { class: `mark-text ${kind}`, x: MARGIN.left + 4, y: y(value) - 4 }, text),
      );
    }
    if (visible.every((each) => each.points.length === 0)) {
      picture.append(svg("text", { class: "nothing", x: width / 2, y: height / 2, "text-anchor": "middle" }, "no figures in this time"));
    }
    this.writeReadout(picture, visible, { begin, x, width, bottom });
    this.plot.replaceChildren(picture);
  }

  axes(picture, { begin, top, x, y, width, bottom }) {
    for (const share of [0, 0.5, 1]) {
      const at = y(top * share);
      picture.append(
        svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }),
        svg("text", { class: "axis", x: MARGIN.left - 6, y: at + 4, "text-anchor": "end" }, this.options.write(top * share)),
      );
    }
    const most = Math.max(2, Math.floor(width / 110));
    const step = STEPS_S.find((each) => this.span / each <= most) ?? 86400;
    const zone = new Date(begin * 1000).getTimezoneOffset() * 60;
    for (let at = Math.ceil((begin - zone) / step) * step + zone; at <= this.end; at += step) {
      const place = x(at);
      if (place < MARGIN.left + 20 || place > width - 24) continue;
      picture.append(
        svg("line", { class: "grid", x1: place, x2: place, y1: bottom, y2: bottom + 4 }),
        svg("text", { class: "axis", x: place, y: bottom + 16, "text-anchor": "middle" }, tick(at, step)),
      );
    }
  }

  /** Write the figures at the pointer, or the newest. */
  writeReadout(picture, visible, { begin, x, width, bottom }) {
    let at = null;
    if (this.pointer !== null) {
      const share = (this.pointer - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      at = begin + Math.max(0, Math.min(1, share)) * this.span;
      picture.append(svg("line", { class: "pointer", x1: x(at), x2: x(at), y1: MARGIN.top, y2: bottom }));
    }
    const parts = visible.map((each) => {
      const point = at === null ? each.points.at(-1) : nearest(each.points, at, this.span / 40);
      return h("span", { class: "key" },
        h("i", { class: `swatch ${each.kind} ${each.name}`, "aria-hidden": "true" }),
        `${each.label} `, h("b", {}, point ? this.options.write(point[1]) : "–"));
    });
    if (at !== null) parts.push(h("span", { class: "when", title: fullMoment(at) }, `at ${moment(at)}`));
    this.readout.replaceChildren(...parts);
  }

  /** Return the chart in words, for who does not see it. */
  words(visible) {
    const parts = visible.filter((each) => each.points.length).map((each) => {
      const values = each.points.map(([, value]) => value);
      const low = values.reduce((a, b) => Math.min(a, b));
      const high = values.reduce((a, b) => Math.max(a, b));
      const { write } = this.options;
      return `${each.label} ${write(values.at(-1))}, from ${write(low)} to ${write(high)}`;
    });
    return `${this.options.title}: ${parts.join("; ") || "no figures in this time"}`;
  }
}

/**
 * Return [seconds, figure] points, oldest first, fewer of what is longer ago, as the server has of a
 * recording: the highest of each minute, before a day of ten.
 */
export function thinned(points, now) {
  const found = [];
  for (const [at, value] of points) {
    const age = now - at;
    const step = age > DAY_S ? 600 : age > RECENT_S ? 60 : 0;
    const last = found.at(-1);
    if (age > LONGEST_S) continue;
    if (last && at - last[0] < step) last[1] = Math.max(last[1], value);
    else found.push([at, value]);
  }
  return found;
}

/** Return the paths of a line and of the area under it; longer pauses are gaps. */
function paths(points, x, y, bottom) {
  let line = "";
  let area = "";
  let begin = null;
  let last = null;
  for (const [index, [at, value]] of points.entries()) {
    const before = index ? points[index - 1][0] : null;
    const usual = index > 1 ? (before - points[index - 2][0]) * 3 : 0;
    const isGap = before !== null && at - before > Math.max(GAP_S, usual) && at - before > 60 * 1.5
      || before !== null && at - before > GAP_S && usual < GAP_S && usual > 0;
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    if (begin === null || isGap) {
      if (begin !== null) area += `L${last} ${bottom}L${begin} ${bottom}Z`;
      begin = x(at).toFixed(1);
      line += `M${place}`;
      area += `M${begin} ${bottom}L${place}`;
    } else {
      line += `L${place}`;
      area += `L${place}`;
    }
    last = x(at).toFixed(1);
  }
  if (begin !== null) area += `L${last} ${bottom}L${begin} ${bottom}Z`;
  return { line, area };
}

function nearest(points, at, within) {
  let found = null;
  for (const point of points) {
    if (Math.abs(point[0] - at) <= Math.max(within, 2)
      && (found === null || Math.abs(point[0] - at) < Math.abs(found[0] - at))) found = point;
  }
  return found;
}
