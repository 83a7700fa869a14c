// Trials as the page needs them: read, ranked, described.

/** What each column is, by its key: heading, help, label, digits, sign; told with the trials. */
export const columns = new Map();

/** Return trials as objects; an id, within a task, is a study and a number, which a rebuilt store keeps. */
export function decode({ columns: keys, rows, shown }, studies) {
  for (const [key, column] of Object.entries(shown)) columns.set(key, { key, ...column });
  return rows.map((values) => {
    const trial = Object.fromEntries(keys.map((name, i) => [name, values[i]]));
    const study = studies.get(`${trial.task}/${trial.study}`);
    const ranked = trial.psnr_mean_db ?? trial[study.ranked_by];
    return Object.assign(trial, {
      id: `${trial.study}:${trial.trial}`,
      device: study.device,
      // In another data type than float32 a network gives something else than what was trained.
      ranked_by: study.ranked_by,
      ranked_db: ranked,
      gain_db: ranked === null ? null : ranked - study.bicubic_psnr_y_db,
      positions: positionsOf(trial.architecture),
      done: trial.state === "complete",
    });
  });
}

/** Mark the front of each group and rank: the front by rising latency, then the rest by falling PSNR. */
export function rank(trials, groupOf) {
  const groups = Map.groupBy(trials, groupOf);
  for (const members of groups.values()) {
    const done = members.filter((t) => t.done && t.ranked_db !== null && t.latency_fastest_ms !== null);
    done.sort((a, b) => a.latency_fastest_ms - b.latency_fastest_ms || b.ranked_db - a.ranked_db);
    let best = null;
    for (const trial of done) {
      const equal = best && trial.ranked_db === best.ranked_db && trial.latency_fastest_ms === best.latency_fastest_ms;
      trial.front = best === null || trial.ranked_db > best.ranked_db || equal;
      if (trial.front) best = trial;
    }
    const front = done.filter((t) => t.front);
    const rest = done.filter((t) => !t.front).sort((a, b) => b.ranked_db - a.ranked_db);
    [...front, ...rest].forEach((trial, i) => (trial.rank = i + 1));
    for (const trial of members) if (!done.includes(trial)) Object.assign(trial, { front: false, rank: null });
  }
  return groups;
}

/** Return the positions of an architecture's short form, each as the names of its blocks in their order. */
export function positionsOf(text) {
  const start = text.indexOf("[");
  const positions = [];
  for (const part of split(text.slice(start + 1, closing(text, start)), "|")) {
    const run = /^(\d+)\((.*)\)$/.exec(part);
    const names = split(run ? run[2] : part, "+").map((name) => /^[\w*]+/.exec(name)?.[0] ?? name);
    for (let i = 0; i < (run ? Number(run[1]) : 1); i++) positions.push(names);
  }
  return positions;
}

function closing(text, start) {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    if ("[(".includes(text[i])) depth++;
    if (")]".includes(text[i]) && --depth === 0) return i;
  }
  return text.length;
}

function split(text, separator) {
  const parts = [];
  let depth = 0;
  let part = "";
  for (const letter of text) {
    if (letter === "(") depth++;
    if (letter === ")") depth--;
    if (letter === separator && depth === 0) {
      parts.push(part);
      part = "";
    } else part += letter;
  }
  return part ? [...parts, part] : parts;
}

/** Return a number with so many digits, or nothing where there is none. */
export function number(value, digits, sign = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "";
  return (sign && value > 0 ? "+" : "") + value.toFixed(digits);
}

/** Return a trial's number as its column shows it, with so many digits more. */
export function figure(trial, key, more = 0) {
  const { digits, sign } = columns.get(key);
  return number(trial[key], digits + more, sign);
}

/** Return mean and standard error of PSNR differences, paired by photograph, or null where they cannot be paired. */
export function paired(ours, theirs) {
  if (!ours || !theirs || ours.images.join("\n") !== theirs.images.join("\n")) return null;
  // An infinite PSNR is a text.
  const counts = (scores, i) => Number.isFinite(scores.psnr_y_db[i]) && !scores.left_out?.includes(scores.images[i]);
  const both = [...ours.images.keys()].filter((i) => counts(ours, i) && counts(theirs, i));
  const differences = both.map((i) => ours.psnr_y_db[i] - theirs.psnr_y_db[i]);
  if (!differences.length) return null;
  const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
  if (differences.length < 2) return { mean, error: null };
  const squares = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / (differences.length - 1) / differences.length) };
}
