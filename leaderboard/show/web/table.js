// The table: sorted by any column, and drawn as far as it is looked at.

import { make, strip } from "./elements.js";
import { columns, figure, number } from "./trials.js";

const CHUNK = 60;
const TEXTS = ["architecture", "study", "profile"];

// What is not said here of a column is told with the trials; `least`: whether its least value is best.
const COLUMNS = [
  { key: "rank", heading: "#", help: "rank: the front by rising latency, then the others by falling PSNR", text: (t) => t.rank ?? "", least: true },
  { key: "architecture", heading: "architecture", help: "blocks by depth", text: (t) => architecture(t), least: true },
  { key: "psnr_y_db", least: false },
  { key: "timed_psnr_y_db", least: false },
  { key: "psnr_mean_db", least: false },
  { key: "gain_db", least: false },
  { key: "ssim_y", least: false },
  { key: "latency_fastest_ms", least: true },
  { key: "latency_median_ms", text: (t) => interval(t), least: true },
  { key: "macs_g", least: true },
  { key: "params_k", least: true },
  { key: "peak_memory_mib", heading: "MiB", least: true },
  { key: "front_probability", least: false },
  { key: "study", heading: "study", help: "study and trial", text: (t) => `${t.study} #${t.trial}`, least: true },
];
const PROFILE = { key: "profile", heading: "device profile", help: "what it was timed on", text: (t) => t.profile, least: true };

/** Show trials in `table`; returns what redraws it. */
export class TrialTable {
  constructor(table, more, { onSort, onOpen, onCompare, runLink }) {
    Object.assign(this, { table, more, onSort, onOpen, onCompare, runLink, shown: 0, trials: [] });
    new IntersectionObserver((entries) => entries[0].isIntersecting && this.shown && this.grow()).observe(more);
    table.tBodies[0].addEventListener("keydown", (event) => this.steer(event));
    table.tBodies[0].addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && !event.target.closest("a, input, label")) this.onOpen(row.dataset.id);
    });
  }

  draw(trials, { sort, compare, open, devices }) {
    const focused = this.table.contains(document.activeElement) ? document.activeElement : null;
    const [row, column] = [focused?.closest("tr")?.dataset.id, focused?.closest("th")?.dataset.key];
    const least = String(sort) === String(this.sort) ? this.shown : 0;
    Object.assign(this, { trials: sorted(trials, sort), sort, compare, open, columns: this.shownColumns(trials, devices) });
    this.table.caption.textContent = `${trials.length} trials, ${trials.filter((t) => t.front).length} of them on a front`;
    this.table.setAttribute("aria-rowcount", String(trials.length + 1));
    this.table.tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, hidden("compare")), ...this.columns.map((column) => this.head(column, sort)), make("th", { scope: "col" }, hidden("run"))));
    this.table.tBodies[0].replaceChildren();
    this.shown = 0;
    this.grow(least);
    // What is drawn anew keeps the focus where it was.
    if (row) this.focus(row);
    else if (column) this.table.querySelector(`th[data-key="${column}"] button`)?.focus({ preventScroll: true });
  }

  shownColumns(trials, devices) {
    const filled = COLUMNS.filter(({ key }) => !trials.length || trials.some((trial) => known(trial[key])));
    return [...filled, ...(devices > 1 ? [PROFILE] : [])].map((own) => ({ text: (trial) => figure(trial, own.key), ...columns.get(own.key), ...own }));
  }

  grow(least = 0) {
    const next = this.trials.slice(this.shown, Math.max(this.shown + CHUNK, least));
    this.table.tBodies[0].append(...next.map((trial, i) => this.row(trial, this.shown + i)));
    this.shown += next.length;
    const left = this.trials.length - this.shown;
    this.more.textContent = left ? `${left} more below` : "";
    // What is observed may stay in view: ask again.
    if (left && next.length && this.more.getBoundingClientRect().top < innerHeight) requestAnimationFrame(() => this.grow());
  }

  head({ key, heading, help, least }, [by, descending]) {
    const order = key === by ? (descending ? "descending" : "ascending") : "none";
    const flip = () => this.onSort([key, key === by ? !descending : !least]);
    const button = make("button", { type: "button", title: help, onclick: flip }, heading, make("span", { "aria-hidden": "true" }, { ascending: " ▲", descending: " ▼", none: "" }[order]));
    return make("th", { scope: "col", class: TEXTS.includes(key) ? "" : "figure", "aria-sort": order, "data-key": key }, button);
  }

  row(trial, index) {
    const box = make("input", { type: "checkbox", "aria-label": `Compare trial ${trial.trial} of ${trial.study}`, tabindex: -1, onchange: () => this.onCompare(trial.id) });
    box.checked = this.compare.includes(trial.id);
    const link = trial.run_id ? make("a", { href: this.runLink(trial), tabindex: -1, title: "The run in MLflow" }, "run") : "";
    const cells = this.columns.map(({ key, text }) => make("td", { class: TEXTS.includes(key) ? "text" : "figure" }, text(trial)));
    const looks = [trial.front && "front", !trial.done && "unfinished", trial.id === this.open && "open"];
    return make("tr", { "data-id": trial.id, tabindex: index ? -1 : 0, "aria-rowindex": index + 2, class: looks.filter(Boolean).join(" ") }, make("td", {}, box), ...cells, make("td", {}, link));
  }

  steer(event) {
    const row = event.target.closest("tr");
    if (event.target !== row) return;
    const body = this.table.tBodies[0].rows;
    const index = [...body].indexOf(row);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: body.length - 1, PageDown: index + 10, PageUp: index - 10 }[event.key];
    if (to !== undefined) {
      const next = body[Math.min(Math.max(to, 0), body.length - 1)];
      row.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else if (event.key === "Enter") this.onOpen(row.dataset.id);
    else if (event.key === " ") this.onCompare(row.dataset.id);
    else return;
    event.preventDefault();
  }

  focus(id) {
    const index = this.trials.findIndex((trial) => trial.id === id);
    if (index >= this.shown) this.grow(index + 1);
    const row = this.table.tBodies[0].rows[index];
    if (!row) return;
    this.table.tBodies[0].querySelector("tr[tabindex='0']").tabIndex = -1;
    row.tabIndex = 0;
    row.focus({ preventScroll: true });
  }
}

/** Sort by a column; what has no value comes last either way. */
function sorted(trials, [key, descending]) {
  const sign = descending ? -1 : 1;
  const compared = (a, b) => (a < b ? -sign : a > b ? sign : 0);
  return trials.toSorted((a, b) => known(b[key]) - known(a[key]) || compared(a[key], b[key]) || compared(a.trial, b.trial));
}

function known(value) {
  return value !== null && value !== undefined;
}

function architecture(trial) {
  const notes = [trial.design, trial.done ? "" : `${trial.state.replaceAll("_", " ")}: ${trial.reason}`, trial.latency_flags.replaceAll(",", ", ")].filter(Boolean);
  return make("div", { title: trial.architecture }, strip(trial.positions), notes.length ? make("small", {}, notes.join(", ")) : null);
}

function interval(trial) {
  const text = `${number(trial.latency_median_low_ms, 2)} to ${number(trial.latency_median_high_ms, 2)}`;
  return make("div", {}, number(trial.latency_median_ms, 2), trial.latency_median_ms === null ? null : make("small", {}, text));
}

function hidden(text) {
  return make("span", { class: "hidden" }, text);
}
