// Asks the server.

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
