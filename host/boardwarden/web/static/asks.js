// The requests that a board's view offers to those who may control.

import { post } from "./api.js";
import { ask } from "./ask.js";
import { h } from "./dom.js";

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
      show: (answer, { rows, text }) => {
        if (!rows.length) {
          answer.replaceChildren(h("p", {}, text));
          return true;
        }
        answer.replaceChildren(h("p", {}, "It changes:"), h("dl", { class: "difference" },
          rows.map(([key, change]) => [h("dt", {}, key), h("dd", {}, change)])));
        return true;
      },
    },
  });
}
