// Requests to a board: each is asked in a dialog first, and what the board said is shown there.

import { post } from "./api.js";
import { announce, h } from "./dom.js";
import { ASKED } from "./log.js";

/**
 * Ask before a request. options: title; text: what it does; fields: [{name, label, value, options,
 * hint, rows}]; button; name and values(fields): the request. `check` shows something first, and
 * returns whether to go on.
 */
export function ask(board, { title, text, fields = [], button, name, values = (given) => given, check }) {
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
      checked = check.show(answer, found);
      if (checked) confirm.textContent = check.button;
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
