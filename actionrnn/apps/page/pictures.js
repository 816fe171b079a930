// A picture of a playing video as the server's streams take it.

const shortSide = 288, quality = 0.85, fallbackFps = 12, mostFps = 25;

// Its time in seconds as a little-endian float64, then a small JPEG; null if there is none.
export async function pictureOf(video, seconds) {
  const small = document.createElement("canvas");
  const scale = Math.min(1, shortSide / Math.min(video.videoWidth, video.videoHeight));
  small.width = Math.max(1, Math.round(video.videoWidth * scale));
  small.height = Math.max(1, Math.round(video.videoHeight * scale));
  small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
  const blob = await new Promise((resolve) => small.toBlob(resolve, "image/jpeg", quality));
  if (!blob) return null;
  const time = new DataView(new ArrayBuffer(8));
  time.setFloat64(0, seconds, true);
  return new Blob([time.buffer, blob]);
}

// Milliseconds between two pictures: twice as often as the model samples, so that each sample is a
// fresh one. rateFps: null if the model uses every frame.
export const intervalOf = (rateFps) => 1000 / Math.min(2 * (rateFps || fallbackFps), mostFps);
