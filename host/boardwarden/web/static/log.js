// Who asked boards for what, and what they said.

import { get } from "./api.js";
import { h } from "./dom.js";
import { fullMoment, moment } from "./format.js";

const AGAIN_MS = 5000;
export const ASKED = "boardwarden:asked"; // an event of this page: something was asked just now

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
