// Labels of points in a chart that do not overlap: each stands where there is room, or is left to the hint.

// What a character, a line of type, half a point and the air around a label take, in pixels at type of size 10.
const CHARACTER = 6, LINE = 12, POINT = 8, AIR = 2;
// Where plotly can write beside a point, and on which side of it that is: to the right and below are 1.
const PLACES = [["top left", -1, -1], ["bottom right", 1, 1], ["top right", 1, -1], ["bottom left", -1, 1], ["top center", 0, -1], ["bottom center", 0, 1]];

/** Return plotly's `position` and text of each label `{ at: [x, y], text }`, the first first; `taken` are boxes in pixels. */
export function placed(labels, taken) {
  const boxes = [...taken];
  return labels.map(({ at: [x, y], text }) => {
    for (const [position, across, down] of PLACES) {
      const left = x + across * POINT + ((across - 1) * CHARACTER * text.length) / 2, top = y + down * POINT + ((down - 1) * LINE) / 2;
      const box = [left - AIR, left + CHARACTER * text.length + AIR, top, top + LINE];
      if (boxes.some((other) => overlap(box, other))) continue;
      boxes.push(box);
      return { position, text };
    }
    return { position: PLACES[0][0], text: "" };
  });
}

/** Return the boxes that points `[x, y]` take, and those of a front's steps. */
export function covered(points, front) {
  const steps = front.slice(1).flatMap(([x, y], i) => {
    const [before, level] = front[i];
    return [[before, x, level - AIR, level + AIR], [x - AIR, x + AIR, Math.min(y, level), Math.max(y, level)]];
  });
  return [...steps, ...points.map(([x, y]) => [x - POINT / 2, x + POINT / 2, y - POINT / 2, y + POINT / 2])];
}

function overlap([left, right, top, bottom], [otherLeft, otherRight, otherTop, otherBottom]) {
  return left < otherRight && otherLeft < right && top < otherBottom && otherTop < bottom;
}
