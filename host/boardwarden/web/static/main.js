// The page: who is signed in, which view is shown, and whether the server answers.

import { showBoard } from "./board.js";
import { announce, h } from "./dom.js";
import { showFleet } from "./fleet.js";
import { fullMoment, moment } from "./format.js";
import { get, post } from "./server.js";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const connection = document.getElementById("connection");
let session = null;
let leave = () => {};

/** Show whether the server answers; lostSince is in milliseconds, null if it does. */
function onState(lostSince) {
  document.body.classList.toggle("stale", lostSince !== null);
  banner.hidden = lostSince === null;
  connection.className = lostSince === null ? "connection" : "connection lost";
  connection.textContent = lostSince === null ? "connected" : "no connection";
  if (lostSince === null) {
    banner.textContent = "";
    announce("Connected to the server again.");
    return;
  }
  const at = lostSince / 1000;
  banner.replaceChildren(
    "No connection to the server since ",
    h("time", { title: fullMoment(at) }, moment(at)),
    ". What is shown is of then; it is tried again.",
  );
}

/** Return what a part of an address stands for; as it is where it is spoilt. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function route() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close(); // it is about another view
  leave();
  leave = () => {};
  if (session === null || session.right === null) return;
  const [path, query] = location.hash.slice(1).split("?");
  const parameters = new URLSearchParams(query ?? "");
  const context = { session, onState, onRefused: start, parameters };
  const match = path.match(/^\/board\/(.+)$/);
  window.scrollTo(0, 0);
  const isFirst = main.querySelector("h1") === null;
  leave = match ? showBoard(main, context, decoded(match[1])) : showFleet(main, context);
  if (!isFirst) main.focus(); // who uses a keyboard or a screen reader begins at the new view
}

function showWho() {
  const who = document.getElementById("who");
  const may = session.right === "control" ? "may control" : "may look";
  const out = h("button", { type: "button", class: "quiet", onclick: signOut }, "Sign out");
  if (session.user === null) who.replaceChildren(h("span", { class: "may" }, may));
  else {
    const name = h("span", { class: "may", title: session.user }, `${session.user} ${may}`);
    who.replaceChildren(name, ...(session.login ? [out] : []));
  }
}

async function signOut() {
  await post("/api/logout", {});
  await start();
}

function showLogin() {
  document.title = "Sign in · boardwarden";
  document.getElementById("who").replaceChildren();
  connection.textContent = "";
  const problem = h("p", { class: "problem", role: "alert" });
  const name = h("input", { name: "name", autocomplete: "username", required: true, id: "name" });
  const password = h("input", {
    name: "password", type: "password", autocomplete: "current-password", required: true,
    id: "password",
  });
  const button = h("button", { class: "primary" }, "Sign in");
  const form = h("form", { class: "card login" },
    h("h1", {}, "Sign in"),
    h("label", { for: "name" }, "Name"), name,
    h("label", { for: "password" }, "Password"), password,
    problem, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    const answer = await post("/api/login", { name: name.value, password: password.value });
    button.disabled = false;
    if (answer.error) {
      problem.textContent = answer.error;
      password.select();
      return;
    }
    await start();
  });
  main.replaceChildren(form);
  name.focus();
}

async function start() {
  leave();
  leave = () => {};
  session = await get("/api/session");
  if (session === null) {
    onState(Date.now());
    setTimeout(start, 2000);
    return;
  }
  banner.hidden = true;
  document.body.classList.remove("stale");
  if (session.right === null && session.login) {
    showLogin();
    return;
  }
  if (session.right === null) {
    main.replaceChildren(h("p", { class: "empty" }, "The proxy does not say who you are."));
    return;
  }
  connection.className = "connection";
  connection.textContent = "connected";
  showWho();
  await route();
}

window.addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the view's
  main.focus();
});
start();
