// Writes figures as the command line does (render/text.py; a test holds the two equal), and times in
// the viewer's zone.

export const NOTHING = "–";
const SIZES = ["KB", "MB", "GB", "TB"];
const TIMES = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Write a number with no or one decimal; as Python does, of two equally near ones the even one. */
function fixed(value, decimals) {
  const halves = decimals === 0 ? value * 2 : value * 4;
  const isTie = Number.isInteger(halves) && halves % 2 !== 0;
  if (!isTie) return value.toFixed(decimals);
  const down = Math.floor(value * 10 ** decimals);
  return ((down % 2 === 0 ? down : down + 1) / 10 ** decimals).toFixed(decimals);
}

export function size(value) {
  if (value === null || value === undefined) return NOTHING;
  if (Math.abs(value) < 1024) return `${fixed(value, 0)} B`;
  let unit = "";
  for (unit of SIZES) {
    value /= 1024;
    if (Math.abs(value) < 1000) break;
  }
  return `${fixed(value, Math.abs(value) < 10 ? 1 : 0)} ${unit}`;
}

export function percent(fraction) {
  if (fraction === null || fraction === undefined) return NOTHING;
  const value = fraction * 100;
  return `${fixed(value, value === 0 || Math.abs(value) >= 9.95 ? 0 : 1)} %`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 1) return `${fixed(seconds * 1000, 0)} ms`;
  if (seconds < 9.95) return `${fixed(seconds, 1).replace(/\.0$/, "")} s`;
  let rest = Number(fixed(seconds, 0));
  const parts = TIMES.map(([unit, length]) => {
    const amount = Math.floor(rest / length);
    rest -= amount * length;
    return amount ? `${amount} ${unit}` : "";
  });
  const first = parts.findIndex(Boolean);
  return parts.slice(first, first + 2).filter(Boolean).join(" ");
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const short = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** Write a moment, in seconds since the epoch: 14:03:07, with the day unless that is today. */
export function moment(at) {
  const date = new Date(at * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

/** Write a moment for an axis with a line in so many seconds: 14:03:10, 14:03, or the day. */
export function tick(at, step) {
  return (step < 60 ? clock : step < 86400 ? short : day).format(new Date(at * 1000));
}

/** Write a moment whole, with its zone. */
export function fullMoment(at) {
  return whole.format(new Date(at * 1000));
}
