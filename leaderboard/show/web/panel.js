// The side panel: one architecture in full, or two to four beside each other.

import { drawLearning } from "./chart.js";
import { command, make, quoted, strip, swatch, title } from "./elements.js";
import { columns, figure, number, paired } from "./trials.js";

// Beside a table there is room for one digit more.
const MORE = 1;

/** Return the columns that are compared and that one of these trials has. */
function compared(trials) {
  return [...columns.values()].filter((column) => column.compared && trials.some((trial) => trial[column.key] !== null && trial[column.key] !== undefined));
}

/** Show one trial; what is not in its row comes from `details`. */
export async function showTrial(panel, trial, { details, runLink, workspace, onClose }) {
  const body = make("div", {}, make("p", { role: "status" }, "Loading"));
  panel.replaceChildren(head(trial.design || `Trial ${trial.trial}`, onClose), summary(trial, runLink), body);
  panel.hidden = false;
  panel.focus();
  let found;
  try {
    found = await details(trial);
  } catch (error) {
    body.replaceChildren(make("p", {}, `The record of this trial could not be read: ${error.message}.`));
    return;
  }
  if (panel.dataset.shown !== trial.id) return;
  const parts = found ? [diagram(found.trial), latencies(found), learning(found.trial), photographs(found), attention(found, trial, workspace)] : [make("p", {}, "This file holds no more of it.")];
  body.replaceChildren(...parts.filter(Boolean), commands(trial, workspace));
  const area = body.querySelector(".learning");
  if (area) drawLearning(area, found.trial.rungs);
}

/** Show two to four trials beside each other; PSNR is paired by photograph with the first. */
export async function showComparison(panel, trials, { details, workspace, onClose }) {
  const first = trials[0];
  panel.replaceChildren(head(`${trials.length} architectures`, onClose), make("p", { role: "status" }, "Loading"));
  panel.hidden = false;
  panel.focus();
  const found = await Promise.all(trials.map((trial) => details(trial).catch(() => null)));
  if (panel.dataset.shown !== trials.map((trial) => trial.id).join()) return;
  const rows = compared(trials).map(({ key, label }) =>
    make("tr", {}, make("th", { scope: "row" }, label), ...trials.map((trial) => cell(trial, first, key))),
  );
  const ranked = found.map((one, i) => one?.trial[trials[i].ranked_by === "psnr_y_db" ? "quality" : "timed_quality"]);
  const seeds = trials.some((trial) => trial.psnr_mean_db !== null);
  const pairs = ranked.map((scores) => paired(ranked[0], scores));
  const against = pairs.map((pair, i) => make("td", { class: "figure" }, i === 0 ? "" : pair ? `${number(pair.mean, 3, true)}${pair.error === null ? "" : ` ± ${number(pair.error, 3)}`}` : "other photographs, or not known"));
  const heads = trials.map((trial) => make("th", { scope: "col" }, `${trial.study} #${trial.trial}`, make("br"), make("small", {}, title(trial))));
  const table = make("table", { class: "beside" }, make("thead", {}, make("tr", {}, make("th", {}, ""), ...heads)), make("tbody", {}, make("tr", {}, make("th", { scope: "row" }, "blocks"), ...trials.map((trial) => make("td", {}, strip(trial.positions)))), ...rows, make("tr", {}, make("th", { scope: "row" }, `PSNR-Y of the first less this one's${seeds ? ", first trainings" : ""}, dB ± standard error over photographs`), ...against)));
  panel.replaceChildren(head(`${trials.length} architectures`, onClose), make("div", { class: "wide" }, table));
  if (trials.length === 2 && trials.every((trial) => trial.study === first.study)) {
    panel.append(command(`srnas leaderboard compare ${trials.map((trial) => trial.trial).join(" ")} --study ${quoted(first.study)}${flag(workspace)}`));
  }
}

function cell(trial, first, key) {
  const value = trial[key];
  const ratio = trial !== first && first[key] && !/_db$|ssim|prob/.test(key) && value ? ` (${number(value / first[key], 2)}x)` : "";
  return make("td", { class: "figure" }, figure(trial, key, MORE) + ratio);
}

function head(text, onClose) {
  return make("header", {}, make("h2", { id: "panel-title" }, text), make("button", { type: "button", onclick: onClose, "aria-label": "Close" }, "✕"));
}

function summary(trial, runLink) {
  const rank = trial.ranked_db === null ? `not ranked${trial.reason && `, ${trial.reason}`}` : trial.front ? "on the front" : "dominated";
  const state = trial.done ? rank : `${trial.state.replaceAll("_", " ")}: ${trial.reason}`;
  const link = trial.run_id ? make("a", { href: runLink(trial) }, "run in MLflow") : null;
  const facts = compared([trial]).map(({ key, label }) => make("div", {}, make("dt", {}, label), make("dd", {}, figure(trial, key, MORE))));
  return make("section", {}, make("p", {}, `${trial.study}, trial ${trial.trial}, key `, make("code", {}, trial.key), `: ${state}. `, link), make("p", {}, make("code", {}, trial.architecture)), make("dl", {}, ...facts));
}

/** Draw the network from input to output. */
function diagram(record) {
  const { architecture } = record;
  const box = (text, blocks = [], note = "") => make("li", {}, ...blocks.map(swatch), ` ${text}`, note ? make("small", {}, note) : "");
  const name = (choice) => (typeof choice === "string" ? choice : choice?.name);
  const options = (choice) => (typeof choice === "string" || !choice ? "" : Object.entries(choice).filter(([key]) => key !== "name").map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(", "));
  const positions = (architecture.positions ?? []).map((position, depth) => {
    const pair = [position.trunk, position.attention].filter((choice) => choice && name(choice) !== "none");
    const ordered = position.order === "before" ? pair.toReversed() : position.order === "around" && pair[1] ? [pair[1], pair[0], pair[1]] : pair;
    const notes = [...ordered.map(options), position.active ? `${position.active} channels active` : ""].filter(Boolean);
    return box(`p${String(depth).padStart(2, "0")}  ${ordered.map(name).join(" → ") || "identity"}`, ordered.map(name), notes.join("; "));
  });
  // What an architecture does not hold is at its default.
  const { stem = "conv", end = "none", gather = "none", tail = "pixelshuffle", global_skip: skip = "bilinear" } = architecture;
  const gathered = gather === "none" ? null : box(`gather: ${gather}`);
  const gathersBody = gather.split("+").includes("body");
  const parts = [
    box(`stem: ${stem === "conv" ? "conv 3x3" : name(stem)}, ${architecture.channels} channels`, stem === "conv" ? [] : [name(stem)], options(stem)),
    ...positions,
    gathersBody ? null : gathered,
    end === "none" ? null : box(`end: ${end}`),
    architecture.long_skip ? box("+ stem (long skip)") : null,
    gathersBody ? gathered : null,
    skip === "carriers" ? box("+ picture, carried past the body") : null,
    box(`tail: ${name(tail)}, x${architecture.scale}`, [], options(tail)),
    ["bilinear", "nearest"].includes(skip) ? box(`+ ${skip} upsampled input`) : null,
  ];
  return section("Architecture", make("ol", { class: "diagram" }, ...parts.filter(Boolean)));
}

/** Latency by position where it was measured, else MACs by position. */
function latencies({ trial, places }) {
  const spent = places ? places.map((place) => [`${place.name}  ${place.label === place.name ? "" : place.label}`, place.fastest_ms ?? place.latency_ms]) : macsByPosition(trial.sizes_by_block ?? {});
  if (!spent.length) return null;
  const most = Math.max(...spent.map(([, value]) => value)) || 1;
  const unit = places ? "ms" : "M MACs";
  const bars = spent.map(([label, value]) => make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, make("meter", { min: 0, max: most, value, "aria-label": `${label}: ${number(value, 3)} ${unit}` })), make("td", { class: "figure" }, number(value, 3))));
  const note = places ? "Each part timed by itself, fastest rounds." : "Latency by position is measured for members of the front.";
  return section(places ? "Latency by position in ms" : "MACs by position in M", make("table", { class: "bars" }, make("tbody", {}, ...bars)), make("small", {}, note));
}

function macsByPosition(blocks) {
  const sums = new Map();
  for (const [name, sizes] of Object.entries(blocks)) {
    const place = name.split(".")[0];
    sums.set(place, (sums.get(place) ?? 0) + sizes.macs / 1e6);
  }
  return [...sums].filter(([, value]) => value > 0);
}

function learning(record) {
  return record.rungs?.length ? section("Learning curve", make("div", { class: "learning" })) : null;
}

function photographs({ trial, crops }) {
  const { quality, timed_quality: timed } = trial;
  if (!quality) return null;
  const rows = quality.images.map((image, i) => make("tr", {}, make("th", { scope: "row" }, image), make("td", { class: "figure" }, number(quality.psnr_y_db[i], 2) || "∞"), timed ? make("td", { class: "figure" }, number(timed.psnr_y_db[i], 2) || "∞") : null, make("td", { class: "figure" }, number(quality.ssim_y[i], 4))));
  const heads = ["photograph", "PSNR-Y", ...(timed ? ["PSNR timed"] : []), "SSIM-Y"].map((text, i) => make("th", { scope: "col", class: i ? "figure" : "" }, text));
  const images = (crops ?? []).map((source) => picture(source, "bicubic, this network, the photograph, and the error"));
  return section("Photographs", ...images, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
}

function picture(source, alt) {
  const image = make("img", { src: source, alt, loading: "lazy" });
  // A browser opens no address that holds data.
  return source.startsWith("data:") ? image : make("a", { href: source, target: "_blank" }, image);
}

/** Show what `srnas explain` has drawn of a trained network, and the command for what it has not. */
function attention({ trial: record, explained }, trial, workspace) {
  const name = (choice) => (typeof choice === "string" ? choice : choice?.name);
  const attends = record.architecture.positions?.some((position) => !["none", undefined].includes(name(position.attention)));
  if (!trial.done || !attends) return null;
  const named = `--trial ${trial.trial} --study ${quoted(trial.study)}${flag(workspace)}`;
  const parts = [
    ["ablation", "What the attention of each position gives and takes", `srnas explain ablate --data PHOTOS ${named}`],
    ["maps", "What it weighs a photograph by", `srnas explain maps --photo PHOTO ${named}`],
    ["frequency", "Whether it follows fine detail", `srnas explain frequency --data PHOTOS ${named}`],
    ["reach", "How far the network sees", `srnas explain reach ${quoted(trial.key)} --photo PHOTO${flag(workspace)}`],
  ];
  const shown = parts.flatMap(([figure, said, text]) => [make("h4", {}, said), explained?.[figure] ? picture(explained[figure], said) : command(text)]);
  return section("Attention", ...shown);
}

function commands(trial, workspace) {
  const key = quoted(trial.key);
  const trained = trial.done ? [`srnas export ${key} --format onnx${flag(workspace)}`, `srnas upscale PHOTO --trial ${trial.trial} --study ${quoted(trial.study)}${flag(workspace)}`] : [];
  return section("What to do with it", ...[`srnas train ${key} --iterations 300000 --data TRAIN --val VAL${flag(workspace)}`, ...trained].map(command));
}

function flag(workspace) {
  return workspace ? ` --workspace ${quoted(workspace)}` : "";
}

function section(heading, ...children) {
  return make("section", {}, make("h3", {}, heading), ...children);
}
