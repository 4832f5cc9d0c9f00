// Asks the server, follows its streams, and says when they are lost and back.

const SILENCE_MS = 12000; // the server says something every 5 s
const RETRY_MS = 1500;
const HIDDEN_MS = 15000; // a page that nobody sees for longer needs no stream

/** Post JSON; return the answer's JSON, with `error` where it is a refusal. */
export async function post(path, data) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Boardwarden": "1" },
      body: JSON.stringify(data),
    });
    const found = await answer.json();
    return answer.ok ? found : { error: found.error ?? `The server answered ${answer.status}.` };
  } catch {
    return { error: "The server does not answer." };
  }
}

/** Get JSON; null where that fails. */
export async function get(path) {
  try {
    const answer = await fetch(path);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

let ahead_s = 0; // the server's clock, of this computer's

/** Return the server's time, in seconds since the epoch: what it sends is by its clock. */
export function serverTime() {
  return Date.now() / 1000 + ahead_s;
}

// Browsers open six connections to a server at most, and keep those of pages that were left: a page
// that is left or hidden gives its own back, else the others would wait for it.

/**
 * Follow a stream: handlers are called by the name of the event with its data. onState(since) gets
 * null while the server answers, else the moment, in milliseconds, since which it does not.
 * onRefused() is called where the user may not look any more.
 * Returns a function that ends it.
 */
export function follow(url, handlers, onState, onRefused) {
  let source = null;
  let lostSince = null;
  let heard = Date.now();
  let timer = 0;
  let hiding = 0;
  let isPaused = false;
  let ended = false;

  function here() {
    heard = Date.now();
    if (lostSince !== null) {
      lostSince = null;
      onState(null);
    }
  }

  function lost() {
    if (lostSince === null && !ended) {
      lostSince = heard;
      onState(lostSince);
    }
  }

  function open() {
    clearTimeout(timer);
    if (ended || isPaused) return;
    source?.close();
    heard = lostSince === null ? Date.now() : heard;
    source = new EventSource(url);
    source.addEventListener("open", here);
    for (const [name, handle] of Object.entries({ alive() {}, ...handlers })) {
      source.addEventListener(name, (event) => {
        here();
        const { now, ...data } = JSON.parse(event.data);
        if (now !== undefined) ahead_s = now - Date.now() / 1000;
        handle(data);
      });
    }
    source.addEventListener("error", () => {
      lost();
      if (source.readyState === EventSource.CLOSED) again();
    });
  }

  function again() {
    source.close();
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (ended) return;
      const session = await get("/api/session");
      if (session?.right === null) {
        close();
        onRefused();
        return;
      }
      open();
    }, RETRY_MS);
  }

  function pause() {
    isPaused = true;
    clearTimeout(timer);
    source?.close();
  }

  function onVisible() {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(pause, HIDDEN_MS);
    else if (isPaused) {
      isPaused = false;
      heard = Date.now();
      open();
    }
  }

  const watch = setInterval(() => {
    if (isPaused) return;
    if (Date.now() - heard > SILENCE_MS) {
      lost();
      again();
      heard = Math.max(heard, Date.now() - SILENCE_MS + 3000);
    }
  }, 1000);

  function close() {
    ended = true;
    clearInterval(watch);
    clearTimeout(timer);
    clearTimeout(hiding);
    source?.close();
    document.removeEventListener("visibilitychange", onVisible);
    window.removeEventListener("pagehide", pause);
    window.removeEventListener("pageshow", onVisible);
  }

  document.addEventListener("visibilitychange", onVisible);
  window.addEventListener("pagehide", pause);
  window.addEventListener("pageshow", onVisible);
  open();
  return close;
}
