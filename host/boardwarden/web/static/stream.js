// Follows a stream of the server, and says when it is lost and back.

const SILENCE_MS = 12000; // the server says something every 5 s
const RETRY_MS = 1500;

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
    if (ended) return;
    heard = lostSince === null ? Date.now() : heard;
    source = new EventSource(url);
    source.addEventListener("open", here);
    source.addEventListener("alive", here);
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        here();
        handle(JSON.parse(event.data));
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
      try {
        const answer = await fetch("/api/session");
        if (answer.ok && (await answer.json()).right === null) {
          close();
          onRefused();
          return;
        }
      } catch { /* still gone */ }
      open();
    }, RETRY_MS);
  }

  const watch = setInterval(() => {
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
    source?.close();
  }

  open();
  return close;
}
