// Points of a graph that is open for long: fewer of what is longer ago, as the server has of a recording.

const RECENT_S = 600; // of which every point is kept
const DAY_S = 86400;
const LONGEST_S = 7 * DAY_S; // that a graph shows

/** Return [seconds, figure] points, oldest first: older ones the highest of each minute, before a day of ten. */
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
