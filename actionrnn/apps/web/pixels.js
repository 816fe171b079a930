// The pixels of a video element. Browsers turn YCbCr into RGB each in its own way, a level or two
// from FFmpeg's, and scores see that: so the planes of 8-bit 4:2:0 are taken as they were decoded,
// and turned into RGB as FFmpeg does it (libswscale, on x86).

const board = document.createElement("canvas"), pen = board.getContext("2d", { willReadFrequently: true });

// Of a matrix: red and green of Cr, green and blue of Cb, in 65536ths (libswscale's ff_yuv2rgb_coeffs).
const ofBt601 = { redCr: 104597, greenCr: -53279, greenCb: -25675, blueCb: 132201 };
// Where a file says none, FFmpeg takes BT.601; Chromium takes BT.709 from 720 lines on, and says that of the frame.
const matrices = {
  bt709: { redCr: 117489, greenCr: -34925, greenCb: -13975, blueCb: 138438 },
  smpte170m: ofBt601, bt470bg: ofBt601, null: ofBt601,
};
// An encoder that rounds a size to even numbers writes pixels as nearly square: they are left alone.
const leastAspectChange = 0.01;

// The picture that is shown now: RGBA `data`, `width`, `height`, and its time in `seconds` if known.
export async function pixelsOf(video) {
  const frame = globalThis.VideoFrame && new VideoFrame(video);
  try {
    const seconds = frame && frame.timestamp / 1e6;
    return { ...(frame && isPlain(frame) ? await converted(frame) : drawn(frame ?? video, video)), seconds };
  } finally {
    frame?.close();
  }
}

function drawn(picture, video) {
  [board.width, board.height] = [video.videoWidth, video.videoHeight];
  pen.drawImage(picture, 0, 0, board.width, board.height);
  const { data, width, height } = pen.getImageData(0, 0, board.width, board.height);
  return { data, width, height };
}

// Whether the planes are those that FFmpeg would see, and all is known about how they are shown.
function isPlain({ format, rotation, flip, colorSpace, visibleRect, displayWidth, displayHeight }) {
  if (!["I420", "NV12"].includes(format) || rotation === undefined || flip || !(colorSpace.matrix in matrices)) return false;
  const [width, height] = rotation % 180 ? [displayHeight, displayWidth] : [displayWidth, displayHeight];
  return Math.abs(visibleRect.width * height / (visibleRect.height * width) - 1) < leastAspectChange;
}

async function converted(frame) {
  const { width, height } = frame.visibleRect, { format, rotation, colorSpace: { matrix, fullRange } } = frame;
  const planes = new Uint8Array(frame.allocationSize()), layout = await frame.copyTo(planes);
  const [luma, cb, cr] = layout, step = format === "NV12" ? 2 : 1;
  const crOffset = format === "NV12" ? cb.offset + 1 : cr.offset, crStride = format === "NV12" ? cb.stride : cr.stride;
  const { lumaScale, black, redCr, greenCr, greenCb, blueCb } = factorsOf(matrix, fullRange);
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += 4) {
      const at = step * (x >> 1), line = y >> 1;
      const level = (8 * planes[luma.offset + y * luma.stride + x] - black) * lumaScale >> 16;
      const blueness = 8 * planes[cb.offset + line * cb.stride + at] - 1024, redness = 8 * planes[crOffset + line * crStride + at] - 1024;
      data[to] = level + (redness * redCr >> 16);
      data[to + 1] = level + (blueness * greenCb >> 16) + (redness * greenCr >> 16);
      data[to + 2] = level + (blueness * blueCb >> 16);
      data[to + 3] = 255;
    }
  return rotated({ data, width, height }, rotation);
}

// In 8192ths, for planes of 8 levels a level; full range: 0 is black, 255 white, else 16 and 235.
function factorsOf(matrix, fullRange) {
  const scale = (factor) => Math.floor((factor * 8192 + 32768) / 65536);
  const colours = Object.entries(matrices[matrix]).map(([name, factor]) => [name, scale(fullRange ? Math.trunc(factor * 224 / 255) : factor)]);
  return { lumaScale: scale(fullRange ? 65536 : Math.trunc(65536 * 255 / 219)), black: fullRange ? 0 : 8 * 16, ...Object.fromEntries(colours) };
}

// Turned clockwise by 0, 90, 180 or 270 degrees.
function rotated({ data, width, height }, degrees) {
  if (!degrees) return { data, width, height };
  const given = new Uint32Array(data.buffer), turned = new Uint32Array(given.length), isOnSide = degrees !== 180;
  const [wide, high] = isOnSide ? [height, width] : [width, height];
  for (let y = 0, to = 0; y < high; y++)
    for (let x = 0; x < wide; x++, to++) {
      const [fromX, fromY] = degrees === 90 ? [y, height - 1 - x] : degrees === 180 ? [width - 1 - x, height - 1 - y] : [width - 1 - y, x];
      turned[to] = given[fromY * width + fromX];
    }
  return { data: new Uint8ClampedArray(turned.buffer), width: wide, height: high };
}
