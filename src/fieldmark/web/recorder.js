// The microphone -> a WAV file: what every server can read, whatever format the browser records.

import { t } from "./texts.js";

const MAX_SECONDS = 60;
const QUIET_DB = -60;
const LONGEST_LOOK = 32_768; // samples, the most that there can be: 0.7 s
const FALL = 0.85; // of the level from one look to the next, so that a short note is seen

/** Records one sound at a time. */
export class Recorder {
  constructor() {
    this.recording = null;
  }

  get isRunning() {
    return this.recording !== null;
  }

  /** Records until `stop` is called or a minute is over; gives the file. Rejects with words for the person. */
  async record({ onStart, onTime, onLevel }) {
    const stream = await openMicrophone();
    const listener = listen(stream);
    const blocks = [];
    const recording = new MediaRecorder(stream);
    this.recording = recording;
    const started = performance.now();
    const timer = setInterval(() => {
      const seconds = (performance.now() - started) / 1000;
      onTime(seconds);
      onLevel(listener.level());
      if (seconds >= MAX_SECONDS) this.stop();
    }, 100);
    try {
      await new Promise((resolve, reject) => {
        recording.ondataavailable = (event) => blocks.push(event.data);
        recording.onstop = resolve;
        recording.onerror = () => reject(new Error(t("The recording stopped unexpectedly. Try again.")));
        recording.start();
        onStart();
      });
    } finally {
      clearInterval(timer);
      this.recording = null;
      listener.end();
      stream.getTracks().forEach((track) => track.stop());
    }
    return new File([await toWav(new Blob(blocks))], "recording.wav", { type: "audio/wav" });
  }

  stop() {
    if (this.recording?.state === "recording") this.recording.stop();
  }
}

/** Measures the loudness of a stream: 0 for what is 60 dB below full scale, 1 for full scale. */
function listen(stream) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: LONGEST_LOOK });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(LONGEST_LOOK);
  let [held, looked] = [0, context.currentTime];
  const level = () => {
    analyser.getFloatTimeDomainData(samples);
    // All that came since the last look, however late this one is: a note may be shorter than the time between them.
    const fresh = Math.ceil((context.currentTime - looked) * context.sampleRate);
    looked = context.currentTime;
    const peak = samples.subarray(Math.max(0, LONGEST_LOOK - fresh)).reduce((largest, each) => Math.max(largest, Math.abs(each)), 0);
    held = Math.max(held * FALL, 1 - (20 * Math.log10(Math.max(peak, 1e-9))) / QUIET_DB, 0);
    return held;
  };
  return { level, end: () => context.close() };
}

async function openMicrophone() {
  if (!navigator.mediaDevices) throw new Error(t("The browser allows recording only on this machine or over HTTPS. Choose a file instead."));
  try {
    // Filters that make speech clear remove parts of a song: all of them are off.
    return await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  } catch {
    throw new Error(t("The microphone could not be opened. Allow it for this page, or choose a file instead."));
  }
}

async function toWav(blob) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    return encodeWav(sound.getChannelData(0), sound.sampleRate);
  } catch {
    throw new Error(t("The recording contains no sound. Record a little longer."));
  } finally {
    context.close();
  }
}

function encodeWav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (start, text) => [...text].forEach((letter, offset) => view.setUint8(start + offset, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, index) => view.setInt16(44 + 2 * index, Math.max(-1, Math.min(1, value)) * 32767, true));
  return view;
}
