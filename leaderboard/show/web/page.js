// The page: its state stands in the URL, its data come from the server or are part of the file.

import { drawCurves, drawFront, placeHandle, watchHandle } from "./chart.js";
import { colourBlocks, make, swatch } from "./elements.js";
import { showComparison, showTrial } from "./panel.js";
import { TrialTable } from "./table.js";
import { decode, rank } from "./trials.js";

const POLL_MS = 2000;
const MOST_COMPARED = 4;
const NARROW = matchMedia("(max-width: 40rem)");
const EMBEDDED = JSON.parse(document.getElementById("data")?.textContent ?? "null");
const $ = (id) => document.getElementById(id);

const state = readState();
let workspace = "";
// Studies by task and name, as the server told them last; what was read of them, and which state of them that was.
let studies = new Map();
const trials = new Map();
const curves = new Map();
const read = new Map();
let asked = 0;
// Whether a change waits to be drawn: an answer that a later request overtook draws nothing.
let owed = false;
let started = false;
let drawTable = () => {};
let opener = null;

function readState() {
  const query = new URLSearchParams(location.search);
  const number = (name) => (query.get(name) && Number.isFinite(Number(query.get(name))) ? Number(query.get(name)) : null);
  return {
    task: query.get("task"),
    protocol: query.get("protocol"),
    devices: query.getAll("device"),
    studies: query.getAll("study"),
    split: query.has("split"),
    unfinished: query.has("unfinished"),
    sort: [query.get("sort") ?? "rank", query.has("descending")],
    budget: number("budget"),
    least: number("least"),
    find: query.get("find") ?? "",
    open: query.get("open"),
    compare: query.getAll("compare"),
    comparing: query.has("comparing"),
  };
}

function writeState() {
  const query = new URLSearchParams();
  for (const name of ["task", "protocol", "budget", "least", "find", "open"]) if (state[name] !== null && state[name] !== "") query.set(name, state[name]);
  for (const [name, list] of [["device", state.devices], ["study", state.studies], ["compare", state.compare]]) list.forEach((one) => query.append(name, one));
  for (const name of ["split", "unfinished", "comparing"]) if (state[name]) query.set(name, "");
  if (state.sort[0] !== "rank" || state.sort[1]) query.set("sort", state.sort[0]);
  if (state.sort[1]) query.set("descending", "");
  const text = query.toString().replaceAll(/=(?=&|$)/g, "");
  try {
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  } catch {
    // Where a viewer shows this file in a sandbox, it has no address of its own.
  }
}

async function load(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response.json();
}

/** Read the studies, and the trials of those that are shown and have changed; draw if anything did, or if `always`. */
async function refresh(always = false) {
  const turn = ++asked;
  owed ||= always;
  const answer = EMBEDDED ?? (await load("api/studies"));
  if (turn !== asked) return;
  const before = JSON.stringify([...studies.values()]);
  studies = new Map(answer.studies.map((study) => [`${study.task}/${study.name}`, study]));
  workspace = answer.workspace ?? "";
  settle();
  const version = (study) => [study.count, study.status, study.ended_ms].join();
  const stale = shownStudies().filter((study) => read.get(idOf(study)) !== version(study));
  if (stale.length) {
    const names = stale.map(idOf);
    const found = EMBEDDED ?? (await load(`api/trials?${names.map((name) => `study=${encodeURIComponent(name)}`).join("&")}`));
    if (turn !== asked) return;
    // A file holds the trials of all studies, those that were read before too.
    const all = Map.groupBy(decode(found, studies), (trial) => `${trial.task}/${trial.study}`);
    names.forEach((name) => trials.set(name, all.get(name) ?? []));
    for (const study of stale) {
      curves.set(idOf(study), found.curves[idOf(study)] ?? []);
      read.set(idOf(study), version(study));
    }
  }
  if (owed || !started || stale.length || before !== JSON.stringify([...studies.values()])) draw();
  tell();
  if (!started) start();
}

function start() {
  started = true;
  document.documentElement.dataset.ready = "";
  performance.mark("ready");
  showPanel();
}

function idOf(study) {
  return `${study.task}/${study.name}`;
}

/** Make the state one that can be shown: one task, one protocol, device profiles and studies that have them. */
function settle() {
  const all = [...studies.values()];
  const within = (list, key, value) => (list.some((study) => study[key] === value) ? value : (list[0]?.[key] ?? null));
  const named = all.filter((study) => state.studies.includes(study.name) && (!state.task || study.task === state.task));
  state.task = within(named.length ? named : all, "task", state.task);
  const tasked = all.filter((study) => study.task === state.task);
  state.protocol = within(named.length && !state.protocol ? named : tasked, "protocol", state.protocol);
  const judged = tasked.filter((study) => study.protocol === state.protocol);
  const known = new Set(judged.map((study) => study.device));
  state.devices = state.devices.filter((device) => known.has(device));
  if (!state.devices.length && judged.length) state.devices = [(named.find((study) => known.has(study.device)) ?? judged[0]).device];
  state.studies = state.studies.filter((name) => judged.some((study) => study.name === name && state.devices.includes(study.device)));
  state.compare = state.compare.filter((id) => judged.some((study) => id.startsWith(`${study.name}:`)));
}

function offered() {
  return [...studies.values()].filter((study) => study.task === state.task && study.protocol === state.protocol);
}

function timed() {
  return offered().filter((study) => state.devices.includes(study.device));
}

function shownStudies() {
  return state.studies.length ? timed().filter((study) => state.studies.includes(study.name)) : timed();
}

/** Return what device profiles are called: those that differ in what is not said are told apart by their key. */
function profileNames() {
  const names = new Map([...studies.values()].map((study) => [study.device, study.profile]));
  const counts = Map.groupBy(names.values(), (name) => name);
  return new Map([...names].map(([device, name]) => [device, counts.get(name).length > 1 ? `${name} (${device})` : name]));
}

function draw() {
  owed = false;
  const shown = shownStudies();
  const profiles = profileNames();
  drawScope(shown, profiles);
  const known = shown.flatMap((study) => trials.get(idOf(study)) ?? []);
  for (const trial of known) trial.profile = profiles.get(trial.device);
  const groups = rank(known, (trial) => [state.devices.length > 1 || !state.split ? trial.profile : "", state.split ? trial.study : ""].filter(Boolean).join(", "));
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const within = (trial) =>
    (trial.done || state.unfinished) &&
    (state.budget === null || (trial.latency_fastest_ms !== null && trial.latency_fastest_ms <= state.budget)) &&
    (state.least === null || (trial.ranked_db !== null && trial.ranked_db >= state.least)) &&
    words.every((word) => `${trial.architecture} ${trial.design} ${trial.key} ${trial.study}`.toLowerCase().includes(word));
  const listed = known.filter(within);
  const blocks = [...new Set(known.flatMap((trial) => trial.positions.flat()))].sort();
  colourBlocks(blocks);
  $("legend").replaceChildren(...blocks.map((block) => make("span", {}, swatch(block), ` ${block}`)));
  drawTable = () => table.draw(listed, { sort: state.sort, compare: state.compare, open: state.open, devices: state.devices.length });
  drawTable();
  $("compare").disabled = state.compare.length < 2;
  $("compare").textContent = state.compare.length < 2 ? "Compare (tick two to four)" : `Compare ${state.compare.length}`;
  $("clear").hidden = !state.compare.length;
  const scope = [state.task, state.protocol, ...state.devices].join();
  drawFront($("front"), groups, shown, { selected: [state.open, ...state.compare], scope, onSelect: open, onDrawn: place });
  if ($("growth").open) drawCurves($("curve"), shown.map((study) => ({ ...study, curve: curves.get(idOf(study)) ?? [] })));
  writeState();
}

function place() {
  placeHandle($("handle"), $("front"), state.budget);
}

function drawScope(shown, profiles) {
  const all = [...studies.values()];
  options($("task"), [...new Set(all.map((study) => study.task))].map((task) => [task, task]), state.task);
  const protocols = new Map(all.filter((study) => study.task === state.task).map((study) => [study.protocol, study.protocol_said]));
  options($("protocol"), [...protocols], state.protocol);
  const devices = new Map(offered().map((study) => [study.device, profiles.get(study.device)]));
  boxes($("devices"), devices, state.devices, (chosen) => ({ devices: chosen.length ? chosen : state.devices, studies: [] }));
  const names = new Map(timed().map((study) => [study.name, `${study.name} (${study.count}${study.status === "RUNNING" ? ", running" : ""})`]));
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
  const focused = fieldset.contains(document.activeElement) ? document.activeElement.value : null;
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

/** Return the record of a trial, its latency by position, its crops and what explains it, as far as they are kept. */
async function details(trial) {
  if (EMBEDDED) return EMBEDDED.details[trial.id] ?? null;
  const list = async (folder) => ((await load(`../ajax-api/2.0/mlflow/artifacts/list?run_id=${trial.run_id}&path=${folder}`)).files ?? []).map((file) => file.path);
  const [paths, explained] = await Promise.all([list("shown"), list("explained")]);
  const url = (path) => `../get-artifact?run_uuid=${trial.run_id}&path=${encodeURIComponent(path)}`;
  const [record, places] = await Promise.all([load(url("trial.json")), paths.includes("shown/places.json") ? load(url("shown/places.json")) : null]);
  const figures = explained.filter((path) => path.endsWith(".png")).map((path) => [path.slice("explained/".length, -".png".length), url(path)]);
  return { trial: record, places, crops: paths.filter((path) => path.endsWith(".png")).map(url), explained: Object.fromEntries(figures) };
}

function find(id) {
  return trials.get(`${state.task}/${id?.slice(0, id.lastIndexOf(":"))}`)?.find((trial) => trial.id === id);
}

function runLink(trial) {
  return `../#/experiments/${studies.get(`${trial.task}/${trial.study}`).experiment_id}/runs/${trial.run_id}`;
}

function open(id) {
  opener = document.activeElement;
  update({ open: id, comparing: false });
  showPanel();
}

function close() {
  const id = state.open;
  update({ open: null, comparing: false });
  showPanel();
  if (id) table.focus(id);
  else if (opener?.isConnected) opener.focus();
}

function showPanel() {
  const panel = $("panel");
  const given = { details, runLink, workspace, onClose: close };
  const compared = state.compare.map(find).filter(Boolean);
  const trial = find(state.open);
  const comparing = state.comparing && compared.length > 1;
  panel.dataset.shown = comparing ? compared.map((one) => one.id).join() : (trial?.id ?? "");
  panel.hidden = !panel.dataset.shown;
  // A panel that covers all leaves nothing else to go to.
  for (const part of document.querySelectorAll("body > :not(#panel)")) part.inert = NARROW.matches && !panel.hidden;
  if (comparing) showComparison(panel, compared, given);
  else if (trial) showTrial(panel, trial, given);
}

function tick(id) {
  const kept = state.compare.filter((one) => one !== id);
  update({ compare: kept.length < state.compare.length ? kept : [...kept, id].slice(-MOST_COMPARED) });
}

/** Change the state and what follows from it. */
function update(changes) {
  Object.assign(state, changes);
  const scoped = ["task", "protocol", "devices", "studies"].some((name) => name in changes);
  if (scoped) refresh(true).catch(fail);
  else draw();
}

function fail(error) {
  say(`The server does not answer (${error.message}); asking again.`, true);
}

function tell() {
  const running = shownStudies().filter((study) => study.status === "RUNNING").map((study) => study.name);
  say(!studies.size ? "No study yet: run srnas search." : running.length ? `Live: ${running.join(", ")} running` : EMBEDDED ? `Written ${EMBEDDED.written}` : "", false);
}

function say(text, failed) {
  $("status").classList.toggle("failed", failed);
  // What is said again is read out again.
  if ($("status").textContent !== text) $("status").textContent = text;
}

async function poll() {
  if (!document.hidden) await refresh().catch(fail);
  setTimeout(poll, POLL_MS);
}

const table = new TrialTable($("trials"), $("more"), {
  onSort: (sort) => {
    state.sort = sort;
    drawTable();
    writeState();
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
  opener = $("compare");
  update({ comparing: true, open: null });
  showPanel();
});
$("clear").addEventListener("click", () => {
  update({ compare: [], comparing: false });
  showPanel();
});
$("growth").addEventListener("toggle", draw);
watchHandle($("handle"), $("front"), (budget) => update({ budget }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("panel").hidden) close();
  if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement?.tagName ?? "")) {
    event.preventDefault();
    $("find").focus();
  }
});
if (EMBEDDED) {
  $("mlflow").hidden = true;
  refresh();
} else {
  $("mlflow").href = "../";
  poll();
}
