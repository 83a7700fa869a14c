// Labels of points in a chart that do not overlap: each stands where there is room, or is left to the hint.

// What a character, a line and half a point take, in pixels at type of size 10, and the share of a chart that data takes.
const CHARACTER = 6, LINE = 12, POINT = 6, SHARE = 0.85;
const PLACES = [["top left", -1, 1], ["bottom right", 1, -1], ["top right", 1, 1], ["bottom left", -1, -1], ["top center", 0, 1], ["bottom center", 0, -1]];

/**
 * Choose where each label stands.
 *
 * `labelled` and `all` are points `{ x, y }`, of which those labelled have a `text`; x is drawn on a log scale in an area
 * of `width` by `height` pixels. Returned are plotly's `textposition` and text of each labelled point; the first come first.
 */
export function placed(labelled, all, width, height) {
  const across = scale(all.map((point) => Math.log(point.x)), width);
  const up = scale(all.map((point) => point.y), height);
  const at = (point) => [across(Math.log(point.x)), up(point.y)];
  const taken = all.map(at).map(([x, y]) => [x - POINT, x + POINT, y - POINT, y + POINT]);
  return labelled.map((point) => {
    const [x, y] = at(point), long = CHARACTER * point.text.length;
    for (const [position, side, over] of PLACES) {
      const left = x + side * POINT + ((side - 1) * long) / 2, bottom = y + over * POINT + ((over - 1) * LINE) / 2;
      const box = [left, left + long, bottom, bottom + LINE];
      if (taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      return { position, text: point.text };
    }
    return { position: PLACES[0][0], text: "" };
  });
}

function scale(values, pixels) {
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  return (value) => ((value - low) / span) * pixels * SHARE;
}

function overlap([left, right, bottom, top], [otherLeft, otherRight, otherBottom, otherTop]) {
  return left < otherRight && otherLeft < right && bottom < otherTop && otherBottom < top;
}
