// What the backbone sees of a frame, as actionrnn/features/preprocess.py cuts it and scaling.py
// scales it: each pixel is a mean of the frame's pixels, first along the rows, then along the
// columns, in whole levels in between, with weights that are whole numbers of 16 bits.

const radii = { bicubic: 2, bilinear: 1 };
const cubicA = -0.5, mostDigits = 22, largestAspect = 100;

// seen: `preprocessing` of model.json. Pixels: RGBA, width x height. The result: RGB, crop x crop.
export function squareOf({ data, width, height }, seen) {
  const shorter = Math.min(width, height), { crop } = seen, isSquashed = seen.resize_mode === "squash";
  const [wide, high] = [width, height].map((side) => isSquashed ? crop : Math.floor(side * seen.resize / shorter));
  if (Math.max(wide, high) > largestAspect * Math.min(wide, high)) throw new Error(`${width} x ${height} pixels are too long a frame to cut a square from.`);
  const rows = axisOf(height, high, crop, seen.interpolation), columns = axisOf(width, wide, crop, seen.interpolation);
  const begin = rows[0].first, end = rows.at(-1).first + rows.at(-1).weights.length;
  const narrow = new Uint8ClampedArray((end - begin) * crop * 3); // of the rows that are needed
  for (let y = begin, to = 0; y < end; y++)
    for (const { first, weights } of columns) {
      let red = 0, green = 0, blue = 0;
      for (let tap = 0, from = 4 * (y * width + first); tap < weights.length; tap++, from += 4) {
        red += weights[tap] * data[from];
        green += weights[tap] * data[from + 1];
        blue += weights[tap] * data[from + 2];
      }
      narrow[to++] = Math.floor(red + 0.5);
      narrow[to++] = Math.floor(green + 0.5);
      narrow[to++] = Math.floor(blue + 0.5);
    }
  const square = new Uint8ClampedArray(crop * crop * 3), sums = new Float64Array(crop * 3);
  rows.forEach(({ first, weights }, row) => {
    sums.fill(0.5);
    weights.forEach((weight, tap) => {
      const from = (first - begin + tap) * sums.length;
      for (let at = 0; at < sums.length; at++) sums[at] += weight * narrow[from + at];
    });
    square.set(sums.map(Math.floor), row * sums.length);
  });
  return new Uint8Array(square.buffer);
}

const axes = new Map();

// For each of the `crop` middle pixels of a side that is scaled: from which pixel on it is a mean
// of the given side, and with which weights.
function axisOf(size, scaledSize, crop, interpolation) {
  const key = [size, scaledSize, crop, interpolation].join();
  if (!axes.has(key)) axes.set(key, makeAxis(size, scaledSize, crop, interpolation));
  return axes.get(key);
}

function makeAxis(size, scaledSize, crop, interpolation) {
  const step = size / scaledSize, spread = Math.max(step, 1), radius = radii[interpolation] * spread;
  let largest = 0;
  const all = Array.from({ length: scaledSize }, (_, pixel) => {
    const centre = (pixel + 0.5) * step;
    const first = Math.max(Math.floor(centre - radius + 0.5), 0), behind = Math.min(Math.floor(centre + radius + 0.5), size);
    const raw = Array.from({ length: behind - first }, (_, tap) => filter(Math.abs((first + tap + 0.5 - centre) / spread), interpolation));
    const sum = raw.reduce((total, weight) => total + weight, 0), weights = Float64Array.from(raw, (weight) => weight / sum);
    for (const weight of weights) largest = Math.max(largest, weight);
    return { first, weights };
  });
  const unit = 2 ** Math.min(Math.floor(Math.log2((2 ** 15 - 0.5) / largest)), mostDigits);
  const offset = roundHalfToEven((scaledSize - crop) / 2);
  return all.slice(offset, offset + crop).map(({ first, weights }) => ({ first, weights: weights.map((weight) => Math.floor(weight * unit + 0.5) / unit) }));
}

function filter(x, interpolation) {
  if (interpolation === "bilinear") return Math.max(1 - x, 0);
  if (x < 1) return ((cubicA + 2) * x - (cubicA + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * cubicA : 0;
}

function roundHalfToEven(x) {
  const rounded = Math.round(x);
  return x % 1 && (2 * x) % 1 === 0 && rounded % 2 ? rounded - 1 : rounded;
}
