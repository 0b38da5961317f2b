// A WebSocket that lives while the page is seen: closed where it is hidden, opened again, and never silently stale.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
// The desk says every second how the run is, or that there is none; it notices a run that hangs within some seconds, and
// asks one for 10 s at most. Silence for longer: the desk hangs or the network is cut, which no event tells.
const SILENT_MS = 12000;
const NO_RIGHT = 1008;

const decoder = new TextDecoder();

// The binary message: 4 bytes length of the header, big-endian, the header in JSON, the payload.
function unpacked(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return [JSON.parse(decoder.decode(bytes.subarray(4, 4 + length))), bytes.subarray(4 + length)];
}

// One binary message, or several behind four zero bytes: of each whether it is a text, 4 bytes length, and the message.
function* messagesIn(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0) !== 0) yield unpacked(new Uint8Array(buffer));
  else {
    for (let at = 4; at < buffer.byteLength; at += 5 + view.getUint32(at + 1)) {
      const bytes = new Uint8Array(buffer, at + 5, view.getUint32(at + 1));
      yield view.getUint8(at) ? [JSON.parse(decoder.decode(bytes)), null] : unpacked(bytes);
    }
  }
}

export class LiveSocket {
  // `onMessage(header, payload)`: payload is null for a text; `onState(isOpen)`: whether the desk is reached.
  constructor(path, onMessage, onState) {
    this.path = path;
    this.onMessage = onMessage;
    this.onState = onState;
    this.retryMs = FIRST_RETRY_MS;
    this.isWanted = true;
    this.onVisibility = () => (document.hidden ? this.#drop() : this.#open());
    document.addEventListener("visibilitychange", this.onVisibility);
    this.#open();
  }

  close() {
    this.isWanted = false;
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.#drop();
  }

  #open() {
    if (!this.isWanted || document.hidden || this.socket) return;
    clearTimeout(this.retry);
    const socket = new WebSocket(new URL(this.path, location.href.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    this.#heard();
    socket.onopen = () => {
      this.#heard();
      this.onState(true);
    };
    socket.onmessage = (event) => {
      this.#heard();
      this.retryMs = FIRST_RETRY_MS;
      if (typeof event.data === "string") this.onMessage(JSON.parse(event.data), null);
      else for (const [header, payload] of messagesIn(event.data)) this.onMessage(header, payload);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      clearTimeout(this.silence);
      this.socket = null;
      this.onState(false);
      this.#again(event.code);
    };
    this.socket = socket;
  }

  #heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      this.#drop();
      this.#again();
    }, SILENT_MS);
  }

  #drop() {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.close();
      this.onState(false);
    }
  }

  // Without a right to it there is the page that says how to sign in; otherwise it is tried again.
  async #again(code) {
    if (!this.isWanted) return;
    if (code === NO_RIGHT) {
      location.reload();
      return;
    }
    this.retry = setTimeout(async () => {
      const signal = AbortSignal.timeout(SILENT_MS);
      const status = await fetch("/api/v1/live", { headers: { "X-Desk-Renewal": "1" }, cache: "no-store", signal }).then((answer) => answer.status, () => 0);
      if (status === 401 || status === 403) location.reload();
      else this.#open();
    }, this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
  }
}

export const nowS = () => performance.now() / 1000;

// An age as people read it.
export function ageWords(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
