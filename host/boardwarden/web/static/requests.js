// Requests to boards: those that a board's view offers to who may control, each asked in a dialog first, in
// which the board's answer is shown; and the list of who asked for what.

import { announce, h } from "./dom.js";
import { fullMoment, moment } from "./format.js";
import { get, post } from "./server.js";

const AGAIN_MS = 5000;
const ASKED = "boardwarden:asked"; // an event of this page: something was asked just now

export function askCollect(board) {
  ask(board, {
    title: "Collect garbage", button: "Collect", name: "collect",
    text: "The board frees what nothing refers to any more. Its application stops for as long as that takes, some milliseconds.",
  });
}

export function askInterval(board, interval) {
  ask(board, {
    title: "Sample at another interval", button: "Change", name: "interval",
    text: "A shorter interval costs the board more time; it samples less often where that exceeds the agent's budget.",
    fields: [{ name: "interval", label: "Every", value: interval, hint: "20 ms to 10 min, such as 500 ms, 2 s or 1 min" }],
  });
}

export function askRelease(board, id, words) {
  ask(board, {
    title: `End lease ${id}`, button: "End it", name: "release", values: () => ({ id }),
    text: `${words}. Its holder loses what was granted.`,
  });
}

export function askCancel(board, id, words) {
  ask(board, {
    title: `Cancel operation ${id}`, button: "Have it stop", name: "cancel", values: () => ({ id }),
    text: `${words}. It is told to stop, as by a preemption.`,
  });
}

export function askThreshold(board, metrics, each) {
  const now = each ?? { metric: metrics[0], warn: "", critical: "", clear: "", hold: "0 s", action: "tell" };
  const levels = "such as 80 %, 8k, 200 ms; empty for none";
  ask(board, {
    title: each ? `Threshold of ${each.metric}` : "Watch another metric", button: "Set", name: "threshold",
    text: "Without warn and critical it is removed.",
    fields: [
      { name: "metric", label: "Metric", value: now.metric, options: each ? [each.metric] : metrics },
      { name: "warn", label: "Warn at", value: now.warn, hint: levels },
      { name: "critical", label: "Critical at", value: now.critical },
      { name: "clear", label: "Clear at", value: now.clear },
      { name: "hold", label: "After", value: now.hold, hint: "how long a level must last" },
      { name: "action", label: "Then", value: now.action, options: ["tell", "protect", "reset"] },
    ],
  });
}

export async function askPolicy(board) {
  const found = await post("/api/board/request", { board, name: "policy" });
  ask(board, {
    title: "Apply a policy", button: "Show what would change", name: "apply_policy",
    text: found.error ?? (found.ok ? "This is the policy in force. Change it, or paste another." : found.text),
    fields: [
      { name: "text", label: "Policy, as in warden.toml", value: found.policy ?? "", rows: 14 },
      { name: "save", label: "Have the board store it, so that it holds after a restart", type: "checkbox", value: false },
    ],
    check: {
      button: "Apply",
      request: ({ text }) => ({ name: "compare_policy", arguments: { text } }),
      show: (answer, { rows, text }) => answer.replaceChildren(...(rows.length ? [
        h("p", {}, "It changes:"),
        h("dl", { class: "difference" }, rows.map(([key, change]) => [h("dt", {}, key), h("dd", {}, change)])),
      ] : [h("p", {}, text)])),
    },
  });
}

/**
 * Ask before a request. options: title; text: what it does; fields: [{name, label, value, options,
 * hint, rows}]; button; name and values(fields): the request. `check` {request(fields), show(element,
 * answer), button}: another request, made and shown first.
 */
function ask(board, { title, text, fields = [], button, name, values = (given) => given, check }) {
  const inputs = fields.map(input);
  const answer = h("div", { class: "answer", role: "status" });
  const confirm = h("button", { class: "primary" }, button);
  const close = h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", {},
    h("h2", { id: "asked" }, title),
    text ? h("p", {}, text) : null,
    inputs.map(({ row }) => row),
    answer,
    h("div", { class: "buttons" }, close, confirm));
  const dialog = h("dialog", { "aria-labelledby": "asked" }, form);
  let checked = !check;

  async function send(request) {
    confirm.disabled = true;
    answer.replaceChildren(h("p", {}, "Waiting for the board…"));
    const found = await post("/api/board/request", { board, ...request });
    confirm.disabled = false;
    window.dispatchEvent(new Event(ASKED));
    return found;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(inputs.map(({ field, element }) =>
      [field.name, element.type === "checkbox" ? element.checked : element.value]));
    if (!checked) {
      const found = await send(check.request(given));
      if (found.error || !found.ok) {
        show(answer, found);
        return;
      }
      check.show(answer, found);
      checked = true;
      confirm.textContent = check.button;
      return;
    }
    const found = await send({ name, arguments: values(given) });
    show(answer, found);
    if (found.error) return;
    for (const { element } of inputs) element.disabled = true;
    close.textContent = "Close";
    confirm.remove();
    close.focus();
    if (found.undo) {
      close.before(h("button", { type: "button", onclick: async (clicked) => {
        clicked.target.disabled = true;
        show(answer, await send(found.undo));
        clicked.target.remove();
        close.focus();
      } }, "Undo"));
    }
  });
  for (const { element } of inputs) {
    element.addEventListener("input", () => {
      checked = !check;
      confirm.textContent = button;
      answer.replaceChildren();
    });
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (inputs[0]?.element ?? confirm).focus();
}

/** Show what the board or the server said. */
function show(answer, found) {
  const text = found.error ?? found.text;
  const kind = found.error || !found.ok ? "problem" : "done";
  const says = found.error ? "" : found.ok ? "The board: " : "The board refuses: ";
  answer.replaceChildren(h("p", { class: kind }, says + text));
  announce(text);
}

function input(field) {
  const id = `ask-${field.name}`;
  let element;
  if (field.options) {
    element = h("select", { id }, field.options.map((value) => h("option", { value }, value)));
    element.value = field.value;
  } else if (field.rows) {
    element = h("textarea", { id, rows: field.rows, spellcheck: "false", value: field.value });
  } else if (field.type === "checkbox") {
    element = h("input", { id, type: "checkbox", checked: field.value });
  } else {
    element = h("input", { id, value: field.value ?? "", autocomplete: "off", "aria-describedby": field.hint ? `${id}-hint` : null });
  }
  const row = h("div", { class: field.type === "checkbox" ? "field check" : "field" },
    h("label", { for: id }, field.label), element,
    field.hint ? h("small", { id: `${id}-hint` }, field.hint) : null);
  return { field, element, row };
}

/** Show the requests to a board, or to all (""), in an element; return a function that ends that. */
export function showRequests(element, board) {
  const list = h("ol", { class: "requests" });
  element.replaceChildren(h("h2", {}, "Requests"), list);
  let shown = "";

  async function refresh() {
    const found = await get(`/api/requests?board=${encodeURIComponent(board)}`);
    if (found === null || JSON.stringify(found) === shown) return;
    shown = JSON.stringify(found);
    if (!found.requests.length) {
      list.replaceChildren(h("li", { class: "nothing" }, "Nobody asked for anything since this server began."));
      return;
    }
    list.replaceChildren(...found.requests.slice(0, 20).map((each) => h("li", {},
      h("time", { title: fullMoment(each.at) }, moment(each.at)),
      h("span", { class: "who" }, each.who),
      board ? null : h("span", { class: "board" }, each.board),
      h("span", { class: "what" }, each.what),
      h("span", { class: each.ok ? "answer" : "answer refused" }, each.answer))));
  }

  refresh();
  const timer = setInterval(refresh, AGAIN_MS);
  window.addEventListener(ASKED, refresh);
  return () => {
    clearInterval(timer);
    window.removeEventListener(ASKED, refresh);
  };
}
