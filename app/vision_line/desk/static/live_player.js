// A camera's own video through Media Source, close to its newest frame.

// Behind the newest frame, in seconds: aimed at, and from where on it jumps there.
export const TARGET_S = 0.15;
export const JUMP_S = 1;
const SLOWEST = 0.8;
const FASTEST = 1.25;
const KEPT_S = 10;
const MOST_STALLS = 2;
// Frames come and none is painted for so long: a stall, whatever the browser says.
const UNPAINTED_S = 2.5;
const JOINED_BYTES = 1 << 20;
const RULE_EVERY_MS = 100;

const Source = () => window.ManagedMediaSource || window.MediaSource;

export function plays(codec) {
  return Boolean(Source()?.isTypeSupported(`video/mp4; codecs="${codec}"`));
}

// The rate for a gap to the newest frame.
export const rateFor = (gapS) => Math.min(FASTEST, Math.max(SLOWEST, 1 + (gapS - TARGET_S)));

export class Player {
  // `onFail(reason)` once: it cannot go on. `onPaint(mediaS, metadata)`: this frame is on the screen.
  constructor(video, codec, segment, onFail, onPaint) {
    this.video = video;
    this.onFail = onFail;
    this.onPaint = onPaint;
    this.queue = [segment];
    this.newestS = 0;
    this.stalls = 0;
    this.paintedAtMs = performance.now();
    this.listening = new AbortController();
    const listen = (target, name, call) => target.addEventListener(name, call, { signal: this.listening.signal });
    this.source = new (Source())();
    listen(this.source, "sourceopen", () => this.#guarded(() => this.#open(codec)));
    listen(video, "error", () => this.#fail(video.error?.message || "the browser cannot decode it"));
    listen(video, "waiting", () => this.#stalled());
    video.disableRemotePlayback = true; // ManagedMediaSource asks for it
    this.url = URL.createObjectURL(this.source);
    video.src = this.url;
    this.timer = setInterval(() => this.#rule(), RULE_EVERY_MS);
    this.#paint();
  }

  append(segment, mediaS) {
    this.queue.push(segment);
    this.newestS = mediaS;
    this.#guarded(() => this.#pump());
  }

  close() {
    this.isClosed = true;
    clearInterval(this.timer);
    this.listening.abort();
    this.video.cancelVideoFrameCallback?.(this.callback);
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.url);
  }

  #open(codec) {
    this.buffer = this.source.addSourceBuffer(`video/mp4; codecs="${codec}"`);
    this.buffer.addEventListener("updateend", () => this.#guarded(() => this.#pump()));
    this.buffer.addEventListener("error", () => this.#fail("the browser cannot read it"));
    this.#pump();
  }

  // One thing at a time: `appendBuffer` and `remove` throw while the buffer is updating.
  #pump() {
    if (this.isClosed || !this.buffer || this.buffer.updating) return;
    const oldestS = this.buffer.buffered.length ? this.buffer.buffered.start(0) : 0;
    const keepFromS = this.video.currentTime - KEPT_S;
    if (this.isFull || oldestS < keepFromS - 1) {
      const endS = this.isFull ? this.video.currentTime - 0.5 : keepFromS;
      this.isFull = false;
      if (endS > oldestS) return this.buffer.remove(oldestS, endS);
    }
    if (!this.queue.length) return;
    const joined = [];
    for (let size = 0; this.queue.length && size < JOINED_BYTES; size += joined.at(-1).length) joined.push(this.queue.shift());
    try {
      this.buffer.appendBuffer(joined.length === 1 ? joined[0] : concatenated(joined));
    } catch (error) {
      if (error.name !== "QuotaExceededError" || this.isRetry) throw error;
      this.queue.unshift(...joined);
      this.isFull = this.isRetry = true;
      this.#pump();
      return;
    }
    this.isRetry = false;
  }

  #rule() {
    const { video } = this;
    if (video.readyState < 2) return;
    if (video.paused) video.play().catch((error) => this.#fail(`the browser does not play it: ${error.message}`));
    const gapS = this.newestS - video.currentTime;
    if (gapS > JUMP_S) {
      video.currentTime = this.newestS - TARGET_S;
      return;
    }
    const rate = rateFor(gapS);
    if (Math.abs(video.playbackRate - rate) > 0.01) video.playbackRate = rate;
    if (gapS > 0.3 && performance.now() - this.paintedAtMs > UNPAINTED_S * 1000) {
      this.paintedAtMs = performance.now();
      this.#stalled();
    }
  }

  // A camera that sends nothing is no stall: there must be frames to play.
  #stalled() {
    if (this.isClosed || this.newestS - this.video.currentTime < 0.3) return;
    this.stalls += 1;
    if (this.stalls >= MOST_STALLS) this.#fail("the browser does not keep up");
  }

  #paint() {
    if (!this.video.requestVideoFrameCallback) {
      this.#fail("the browser does not say which frame it paints");
      return;
    }
    this.callback = this.video.requestVideoFrameCallback((_, metadata) => {
      if (this.isClosed) return;
      this.paintedAtMs = performance.now();
      this.onPaint(metadata.mediaTime, metadata);
      this.#paint();
    });
  }

  #guarded(act) {
    try {
      act();
    } catch (error) {
      this.#fail(error.message);
    }
  }

  #fail(reason) {
    if (this.isClosed) return;
    this.close();
    this.onFail(reason);
  }
}

function concatenated(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
