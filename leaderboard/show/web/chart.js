// The charts: PSNR against latency with the budget as a line that can be dragged, and the hypervolume over time.
// The script that draws them is large; it is asked for when the first one is drawn.

import { number } from "./trials.js";
import { make, title } from "./elements.js";
import { covered, placed } from "./labels.js";

const CONFIG = { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const TICKS = [-3, -2, -1, 0, 1, 2, 3, 4].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
const STEP = 1.02;

let script = null;

function scripted() {
  if (window.Plotly) return Promise.resolve();
  script ??= new Promise((resolve, reject) => document.head.append(make("script", { src: "plotly.min.js", onload: resolve, onerror: reject })));
  return script;
}

/** Draw as soon as the script is there: the last one that was asked for of an area. */
async function plot(area, traces, layout, config = CONFIG) {
  // What stands beside an area may come and go.
  area.watched ??= new ResizeObserver(() => area.data && area.clientWidth && Plotly.Plots.resize(area));
  area.watched.observe(area);
  area.wanted = traces;
  await scripted();
  if (area.wanted === traces) await Plotly.react(area, traces, layout, config);
  return area.wanted === traces;
}

/** Draw the front of each group; `onSelect` is told the id of a trial that is clicked, `onDrawn` of every drawing. */
export async function drawFront(area, groups, studies, { selected, scope, onSelect, onDrawn }) {
  const colours = palette();
  const roomy = area.clientWidth > 600;
  const traces = [], named = [];
  [...groups].forEach(([name, trials], index) => {
    const done = trials.filter((trial) => trial.done && trial.ranked_db !== null && trial.latency_fastest_ms !== null);
    const front = done.filter((trial) => trial.front).sort((a, b) => a.latency_fastest_ms - b.latency_fastest_ms);
    const colour = colours.groups[index % colours.groups.length];
    const suffix = groups.size > 1 ? `: ${name}` : "";
    const rest = done.filter((trial) => !trial.front);
    traces.push(points(rest, `dominated${suffix}`, { mode: "markers", opacity: 0.4, marker: { size: 6, color: colour } }));
    traces.push({
      ...points(front, `front${suffix}`, { mode: "lines+markers", marker: { size: 10, color: colour } }),
      line: { shape: "hv", width: 1.5, color: colour },
      error_x: bars(front.map((t) => Math.max(0, (t.latency_median_high_ms ?? t.latency_fastest_ms) - t.latency_fastest_ms)), colour),
      error_y: { ...bars(front.map((t) => t.psnr_se_db ?? 0), colour), symmetric: true },
    });
    const designs = done.filter((trial) => trial.design).sort((a, b) => b.front - a.front || a.latency_fastest_ms - b.latency_fastest_ms);
    named.push({ trace: traces.length, designs, done, front });
    traces.push({
      ...points(designs, `human designs${suffix}`, { mode: roomy ? "markers+text" : "markers" }),
      marker: { size: 15, symbol: "circle-open", color: colours.design, line: { width: 1.5 } },
      text: designs.map((trial) => escaped(trial.design)),
      textfont: { size: 10, color: colours.design },
      cliponaxis: false,
    });
  });
  const chosen = [...groups.values()].flat().filter((trial) => selected.includes(trial.id) && trial.done && trial.ranked_db !== null);
  traces.push(points(chosen, "chosen", { mode: "markers", marker: { size: 18, symbol: "diamond-open", color: colours.ink } }));
  const seeds = [...groups.values()].flat().some((trial) => trial.psnr_mean_db !== null);
  const bicubic = [...new Set(studies.map((study) => study.bicubic_psnr_y_db))];
  const layout = {
    ...frame(colours),
    uirevision: scope,
    xaxis: { ...axis(colours), type: "log", tickvals: TICKS, title: { text: "latency in ms (fastest round)" } },
    yaxis: { ...axis(colours), title: { text: `${studies.every((study) => study.ranked_by === "psnr_y_db") ? "PSNR-Y" : "PSNR-Y as timed"}${seeds ? ", mean over seeds," : ""} in dB on ${[...new Set(studies.map((s) => escaped(s.validation)))].join(", ")}` } },
    shapes: bicubic.map((y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { dash: "dash", width: 1, color: colours.dim } })),
    annotations: bicubic.map((y) => ({ xref: "paper", x: 0, xanchor: "left", y, yanchor: "bottom", text: `bicubic ${number(y, 2)}`, showarrow: false, font: { size: 10, color: colours.dim } })),
  };
  if (!(await plot(area, traces, layout))) return;
  if (roomy) await placeNames(area, named);
  for (const name of ["plotly_click", "plotly_afterplot"]) area.removeAllListeners(name);
  area.on("plotly_click", (event) => onSelect(event.points[0].customdata));
  area.on("plotly_afterplot", onDrawn);
  onDrawn();
}

/** Write the names of the designs where there is room: where that is, is known once the axes are drawn. */
async function placeNames(area, named) {
  const { xaxis, yaxis } = area._fullLayout;
  const at = (trial) => [xaxis.d2p(trial.latency_fastest_ms), yaxis.d2p(trial.ranked_db)];
  const taken = named.flatMap(({ done, front }) => covered(done.map(at), front.map(at)));
  const labels = placed(named.flatMap(({ designs }) => designs.map((trial) => ({ at: at(trial), text: trial.design }))), taken);
  const ofEach = named.map(({ designs }) => labels.splice(0, designs.length));
  const look = { text: ofEach.map((own) => own.map(({ text }) => escaped(text))), textposition: ofEach.map((own) => own.map(({ position }) => position)) };
  await Plotly.restyle(area, look, named.map(({ trace }) => trace));
}

/** Draw how the hypervolume of each study grew. */
export function drawCurves(area, studies) {
  const colours = palette();
  const traces = studies.map((study, index) => ({
    x: study.curve.map((point) => point[1] / 60),
    y: study.curve.map((point) => point[2]),
    customdata: study.curve.map((point) => point[0]),
    name: escaped(study.name),
    mode: "lines",
    line: { shape: "hv", width: 1.6, color: colours.groups[index % colours.groups.length] },
    hovertemplate: "%{y:.3f} after %{customdata} trials, %{x:.1f} min<extra>%{fullData.name}</extra>",
  }));
  const layout = {
    ...frame(colours),
    xaxis: { ...axis(colours), title: { text: "minutes since the first trial started" }, rangemode: "tozero" },
    yaxis: { ...axis(colours), title: { text: "hypervolume in dB x ln(ms)" }, rangemode: "tozero" },
  };
  return plot(area, traces, layout);
}

/** Draw PSNR at the rungs of one training. */
export function drawLearning(area, rungs) {
  const colours = palette();
  const trace = { x: rungs.map((rung) => rung.iteration), y: rungs.map((rung) => rung.psnr_y_db), mode: "lines+markers", line: { color: colours.groups[0] } };
  const layout = {
    ...frame(colours),
    showlegend: false,
    xaxis: { ...axis(colours), title: { text: "iteration" }, rangemode: "tozero" },
    yaxis: { ...axis(colours), title: { text: "PSNR-Y in dB" } },
  };
  return plot(area, [trace], layout, { ...CONFIG, displayModeBar: false });
}

/** Make the budget's handle follow pointer and keys; `onBudget` is told milliseconds, or null when it is taken away. */
export function watchHandle(handle, area, onBudget) {
  const at = (event) => {
    const axis = area._fullLayout.xaxis;
    const pixel = event.clientX - area.getBoundingClientRect().left - axis._offset;
    return 10 ** axis.p2l(Math.min(Math.max(pixel, 0), axis._length));
  };
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus();
  });
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) onBudget(Number(at(event).toPrecision(4)));
  });
  handle.addEventListener("keydown", (event) => {
    const now = Number(handle.getAttribute("aria-valuenow"));
    const next = { ArrowLeft: now / STEP, ArrowDown: now / STEP, ArrowRight: now * STEP, ArrowUp: now * STEP, Delete: null }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    onBudget(next && Number(next.toPrecision(4)));
  });
}

/** Put the handle where the budget is; without one it waits at the right edge. */
export function placeHandle(handle, area, budget) {
  const axis = area._fullLayout?.xaxis;
  handle.hidden = !axis || !area.data.some((trace) => trace.x?.length);
  if (handle.hidden) return;
  const right = 10 ** axis.p2l(axis._length);
  const pixel = Math.min(Math.max(axis.l2p(Math.log10(budget || right)), 0), axis._length);
  const size = area._fullLayout._size;
  handle.style.left = `${axis._offset + pixel}px`;
  handle.style.top = `${size.t}px`;
  handle.style.height = `${size.h}px`;
  for (const [name, edge] of [["min", 0], ["max", axis._length]]) handle.setAttribute(`aria-value${name}`, String(Number((10 ** axis.p2l(edge)).toPrecision(4))));
  handle.setAttribute("aria-valuenow", String(Number((budget ?? right).toPrecision(4))));
  handle.setAttribute("aria-valuetext", budget === null ? "no budget" : `${budget} ms`);
  handle.classList.toggle("unset", budget === null);
}

function points(trials, name, look) {
  return {
    x: trials.map((trial) => trial.latency_fastest_ms),
    y: trials.map((trial) => trial.ranked_db),
    customdata: trials.map((trial) => trial.id),
    hovertext: trials.map(said),
    hovertemplate: "%{hovertext}<extra></extra>",
    name: escaped(name),
    ...look,
  };
}

function bars(array, color) {
  return { type: "data", symmetric: false, array, color, thickness: 1, width: 3 };
}

function said(trial) {
  const name = title(trial);
  return [
    `<b>${escaped(name.length > 60 ? `${name.slice(0, 59)}…` : name)}</b>`,
    `${escaped(trial.study)}, trial ${trial.trial}`,
    `${number(trial.ranked_db, 2)} dB (${number(trial.gain_db, 2, true)}), SSIM ${number(trial.ssim_y, 4)}`,
    `${number(trial.latency_fastest_ms, 2)} ms, median ${number(trial.latency_median_ms, 2)} [${number(trial.latency_median_low_ms, 2)}, ${number(trial.latency_median_high_ms, 2)}]`,
    `${number(trial.params_k, 1)} K parameters, ${number(trial.macs_g, 3)} G MACs`,
  ].join("<br>");
}

// Plotly reads some HTML in its texts.
function escaped(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), dim: of("--dim"), grid: of("--line"), design: of("--mark"), groups: [1, 2, 3, 4, 5, 6].map((i) => of(`--group-${i}`)) };
}

function frame(colours) {
  return {
    margin: { l: 56, r: 16, t: 12, b: 46 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
    hovermode: "closest",
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
  };
}

function axis(colours) {
  return { gridcolor: colours.grid, zeroline: false, linecolor: colours.grid };
}
