// Elements that several parts of the page use.

const hues = new Map();

/** Make an element; texts are texts, whatever they contain. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return an architecture as a strip of coloured blocks by depth, the first position at the left. */
export function strip(positions) {
  const said = positions.map((names) => names.join("+")).join(", ") || "no positions";
  const cells = positions.map((names) => make("span", {}, ...names.map((name) => swatch(name))));
  if (!positions.length) return make("small", {}, said);
  return make("span", { class: "strip", role: "img", "aria-label": said, title: said }, ...cells);
}

/** Give each block a colour of its own; a plain convolution stays grey. */
export function colourBlocks(blocks) {
  hues.clear();
  // The golden angle keeps neighbours apart, however many there are.
  blocks.filter((block) => block !== "conv").forEach((block, i) => hues.set(block, (210 + i * 137.5) % 360));
}

/** Return a patch in a block's colour. */
export function swatch(block) {
  return make("i", hues.has(block) ? { style: `--hue:${hues.get(block).toFixed(0)}` } : { class: "plain" });
}

/** Return a command with a button that copies it. */
export function command(text) {
  const code = make("code", {}, text);
  const button = make("button", { type: "button", "aria-label": `Copy: ${text}` }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      // A browser lets only pages of this machine or of https write there.
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  return make("div", { class: "command" }, code, button);
}

/** Return a word of a shell's command, quoted if it needs to be. */
export function quoted(word) {
  const text = String(word);
  return /^[\w./:@=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Return what a trial is called: a published design by its name, any other by its short form. */
export function title(trial) {
  return trial.design || trial.architecture;
}
