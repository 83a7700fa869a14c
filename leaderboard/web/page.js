// The page: its state stands in the URL, its data come from the server or are part of the file.

import { drawCurves, drawFront, placeHandle, watchHandle } from "./chart.js";
import { colourBlocks, make, swatch } from "./elements.js";
import { showComparison, showTrial } from "./panel.js";
import { TrialTable } from "./table.js";
import { decode, rank } from "./trials.js";

const POLL_MS = 2000;
const MOST_COMPARED = 4;
const EMBEDDED = JSON.parse(document.getElementById("data")?.textContent ?? "null");
const $ = (id) => document.getElementById(id);

const state = readState();
let workspace = "";
let studies = new Map();
const trials = new Map();
const curves = new Map();
let drawTable = () => {};
let drawCharts = () => {};

function readState() {
  const query = new URLSearchParams(location.search);
  const list = (name) => query.getAll(name);
  const value = (name) => (query.get(name) ? Number(query.get(name)) : null);
  return {
    task: query.get("task"),
    protocol: query.get("protocol"),
    devices: list("device"),
    studies: list("study"),
    split: query.has("split"),
    unfinished: query.has("unfinished"),
    sort: [query.get("sort") ?? "rank", query.has("descending")],
    budget: value("budget"),
    least: value("least"),
    find: query.get("find") ?? "",
    open: query.get("open"),
    compare: list("compare"),
    comparing: query.has("comparing"),
  };
}

function writeState() {
  const query = new URLSearchParams();
  for (const name of ["task", "protocol", "budget", "least", "find", "open"]) if (state[name]) query.set(name, state[name]);
  for (const [name, list] of [["device", state.devices], ["study", state.studies], ["compare", state.compare]]) list.forEach((one) => query.append(name, one));
  for (const name of ["split", "unfinished", "comparing"]) if (state[name]) query.set(name, "");
  if (state.sort[0] !== "rank" || state.sort[1]) query.set("sort", state.sort[0]);
  if (state.sort[1]) query.set("descending", "");
  const text = query.toString().replaceAll(/=(?=&|$)/g, "");
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

async function load(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response.json();
}

/** Read the studies, and the trials of those that are shown and have changed; returns whether anything did. */
async function refresh() {
  const answer = EMBEDDED ?? (await load("api/studies"));
  const before = studies;
  studies = new Map(answer.studies.map((study) => [study.name, study]));
  workspace = answer.workspace ?? "";
  settle();
  const version = (study) => study && [study.count, study.status, study.ended_ms].join();
  const stale = shownStudies().filter((study) => !trials.has(study.name) || version(study) !== version(before.get(study.name)));
  if (stale.length) {
    const names = stale.map((study) => study.name);
    const found = EMBEDDED ?? (await load(`api/trials?${names.map((name) => `study=${encodeURIComponent(name)}`).join("&")}`));
    names.forEach((name) => trials.set(name, []));
    for (const trial of decode(found, studies)) trials.get(trial.study)?.push(trial);
    for (const [name, curve] of Object.entries(found.curves)) curves.set(name, curve);
  }
  return stale.length > 0 || before.size !== studies.size;
}

/** Make the state one that can be shown: one task, one protocol, device profiles and studies that have them. */
function settle() {
  const all = [...studies.values()];
  const within = (list, key, value) => (list.some((study) => study[key] === value) ? value : (list[0]?.[key] ?? null));
  const named = all.filter((study) => state.studies.includes(study.name));
  const start = state.task || !named.length ? all : named;
  state.task = within(start, "task", state.task);
  const tasked = all.filter((study) => study.task === state.task);
  state.protocol = within(named.length && !state.protocol ? named : tasked, "protocol", state.protocol);
  const judged = tasked.filter((study) => study.protocol === state.protocol);
  const known = new Set(judged.map((study) => study.device));
  state.devices = state.devices.filter((device) => known.has(device));
  if (!state.devices.length && judged.length) state.devices = [(named.find((study) => known.has(study.device)) ?? judged[0]).device];
  state.studies = state.studies.filter((name) => judged.some((study) => study.name === name && state.devices.includes(study.device)));
}

function offered() {
  return [...studies.values()].filter((study) => study.task === state.task && study.protocol === state.protocol);
}

function shownStudies() {
  const timed = offered().filter((study) => state.devices.includes(study.device));
  return state.studies.length ? timed.filter((study) => state.studies.includes(study.name)) : timed;
}

function draw() {
  const shown = shownStudies();
  drawScope(shown);
  const known = shown.flatMap((study) => trials.get(study.name) ?? []);
  const groups = rank(known, (trial) => [state.devices.length > 1 || !state.split ? trial.profile : "", state.split ? trial.study : ""].filter(Boolean).join(", "));
  for (const trial of known) trial.beyond = state.budget !== null && trial.latency_stable_ms > state.budget;
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const listed = known.filter(
    (trial) =>
      (trial.done || state.unfinished) && !trial.beyond && (state.least === null || trial.psnr_y_db >= state.least) &&
      words.every((word) => `${trial.architecture} ${trial.design} ${trial.key} ${trial.study}`.toLowerCase().includes(word)),
  );
  const blocks = [...new Set(known.flatMap((trial) => trial.positions.flat()))].sort();
  colourBlocks(blocks);
  $("legend").replaceChildren(...blocks.map((block) => make("span", {}, swatch(block), ` ${block}`)));
  drawTable = () => table.draw(listed, { sort: state.sort, compare: state.compare, open: state.open, devices: state.devices.length });
  drawTable();
  $("compare").disabled = state.compare.length < 2;
  $("compare").textContent = state.compare.length < 2 ? "Compare (tick two to four)" : `Compare ${state.compare.length}`;
  $("clear").hidden = !state.compare.length;
  drawCharts = () => {
    const selected = [state.open, ...state.compare];
    drawFront($("front"), groups, shown, { selected, onSelect: open }).then(() => placeHandle($("handle"), $("front"), state.budget));
    if ($("growth").open) drawCurves($("curve"), shown.map((study) => ({ ...study, curve: curves.get(study.name) ?? [] })));
  };
  if (window.Plotly) drawCharts();
  writeState();
}

function drawScope(shown) {
  const all = [...studies.values()];
  options($("task"), [...new Set(all.map((study) => study.task))].map((task) => [task, task]), state.task);
  const protocols = new Map(all.filter((study) => study.task === state.task).map((study) => [study.protocol, study.protocol_said]));
  options($("protocol"), [...protocols], state.protocol);
  const devices = new Map(offered().map((study) => [study.device, study.profile]));
  boxes($("devices"), devices, state.devices, (chosen) => ({ devices: chosen.length ? chosen : state.devices, studies: [] }));
  const timed = offered().filter((study) => state.devices.includes(study.device));
  const names = new Map(timed.map((study) => [study.name, `${study.name} (${study.count}${study.status === "RUNNING" ? ", running" : ""})`]));
  boxes($("studies"), names, shown.map((study) => study.name), (chosen) => ({ studies: chosen.length === names.size ? [] : chosen }));
  $("split").checked = state.split;
  $("unfinished").checked = state.unfinished;
  for (const name of ["budget", "least", "find"]) if (document.activeElement !== $(name)) $(name).value = state[name] ?? "";
}

function options(select, pairs, value) {
  select.replaceChildren(...pairs.map(([key, said]) => make("option", { value: key, selected: key === value }, said)));
  select.disabled = pairs.length < 2;
}

function boxes(fieldset, named, chosen, change) {
  const focused = document.activeElement?.value;
  const labels = [...named].map(([key, said]) => {
    const box = make("input", { type: "checkbox", value: key });
    box.checked = chosen.includes(key);
    box.addEventListener("change", () => update(change([...fieldset.querySelectorAll("input:checked")].map((one) => one.value))));
    return make("label", { class: "check" }, box, ` ${said}`);
  });
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  fieldset.append(...labels);
  [...fieldset.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
}

/** Return the record of a trial, its latency by position and its crops, as far as they are kept. */
async function details(trial) {
  if (EMBEDDED) return EMBEDDED.details[trial.id] ?? null;
  const { files } = await load(`../ajax-api/2.0/mlflow/artifacts/list?run_id=${trial.run_id}&path=shown`);
  const paths = (files ?? []).map((file) => file.path);
  const url = (path) => `../get-artifact?run_uuid=${trial.run_id}&path=${encodeURIComponent(path)}`;
  const [record, places] = await Promise.all([load(url("trial.json")), paths.includes("shown/places.json") ? load(url("shown/places.json")) : null]);
  return { trial: record, places, crops: paths.filter((path) => path.endsWith(".png")).map(url) };
}

function find(id) {
  return trials.get(id?.slice(0, id.lastIndexOf(":")))?.find((trial) => trial.id === id);
}

function runLink(trial) {
  return `../#/experiments/${studies.get(trial.study).experiment_id}/runs/${trial.run_id}`;
}

function open(id) {
  update({ open: id, comparing: false });
  showPanel();
}

function close() {
  const id = state.open ?? state.compare[0];
  $("panel").hidden = true;
  update({ open: null, comparing: false });
  if (id) table.focus(id);
}

function showPanel() {
  const panel = $("panel");
  const given = { details, runLink, workspace, onClose: close };
  const compared = state.compare.map(find).filter(Boolean);
  const trial = find(state.open);
  panel.dataset.shown = state.comparing ? state.compare.join() : (trial?.id ?? "");
  if (state.comparing && compared.length > 1) showComparison(panel, compared, given);
  else if (trial) showTrial(panel, trial, given);
  else panel.hidden = true;
}

function tick(id) {
  const kept = state.compare.filter((one) => one !== id);
  update({ compare: kept.length < state.compare.length ? kept : [...kept, id].slice(-MOST_COMPARED) });
  table.focus(id);
}

/** Change the state and what follows from it. */
function update(changes) {
  Object.assign(state, changes);
  const scoped = ["task", "protocol", "devices", "studies"].some((name) => name in changes);
  if (scoped) refresh().then(draw, fail);
  else draw();
}

function fail(error) {
  $("status").textContent = `The server does not answer (${error.message}); asking again.`;
  $("status").classList.add("failed");
}

function tell() {
  const running = shownStudies().filter((study) => study.status === "RUNNING").map((study) => study.name);
  const time = new Date().toLocaleTimeString();
  $("status").classList.remove("failed");
  $("status").textContent = !studies.size ? "No study yet: run srnas search." : running.length ? `Live: ${running.join(", ")} running, read at ${time}` : EMBEDDED ? `Written ${EMBEDDED.written}` : "";
}

async function poll() {
  try {
    if (!document.hidden && (await refresh())) draw();
    tell();
  } catch (error) {
    fail(error);
  }
  setTimeout(poll, POLL_MS);
}

const table = new TrialTable($("trials"), $("more"), {
  onSort: (sort) => {
    state.sort = sort;
    drawTable();
    writeState();
    document.querySelector(`th[data-key="${sort[0]}"] button`)?.focus();
  },
  onOpen: open,
  onCompare: tick,
  runLink,
});

const numeric = (name) => () => update({ [name]: $(name).value === "" ? null : Number($(name).value) });
$("task").addEventListener("change", () => update({ task: $("task").value, protocol: null, devices: [], studies: [] }));
$("protocol").addEventListener("change", () => update({ protocol: $("protocol").value, devices: [], studies: [] }));
$("split").addEventListener("change", () => update({ split: $("split").checked }));
$("unfinished").addEventListener("change", () => update({ unfinished: $("unfinished").checked }));
$("budget").addEventListener("input", numeric("budget"));
$("least").addEventListener("input", numeric("least"));
$("find").addEventListener("input", () => update({ find: $("find").value }));
$("compare").addEventListener("click", () => {
  update({ comparing: true, open: null });
  showPanel();
});
$("clear").addEventListener("click", () => update({ compare: [], comparing: false }));
$("growth").addEventListener("toggle", draw);
watchHandle($("handle"), $("front"), (budget) => update({ budget }));
addEventListener("resize", () => placeHandle($("handle"), $("front"), state.budget));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("panel").hidden) close();
  if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement?.tagName ?? "")) {
    event.preventDefault();
    $("find").focus();
  }
});
if (EMBEDDED) $("mlflow").hidden = true;
else $("mlflow").href = "../";

refresh().then(() => {
  draw();
  tell();
  showPanel();
  document.documentElement.dataset.ready = "";
  performance.mark("ready");
  // The table does not wait for the charts' script.
  if (!window.Plotly) document.head.append(make("script", { src: "plotly.min.js", onload: () => drawCharts() }));
}, fail);
if (!EMBEDDED) setTimeout(poll, POLL_MS);
