// The section that writes down speech: from a file, the microphone or the sample to samples at the model's rate.

const RATE = 16_000;
const LONGEST_SECONDS = 30;
const SHORTEST_SECONDS = 0.2;

export function prepareSpeech({ section, outcome, perform, takeFiles }) {
  const player = section.querySelector('audio');
  const again = section.querySelector('.again');
  let heard;

  async function transcribe() {
    outcome.start('starting…');
    const part = ({ text }) => text && outcome.show(text);
    const all = ({ text }) => outcome.show(text || 'Nothing was said.', ...(heard.isCut ? [cutNote()] : []));
    await perform('transcribe', { samples: heard.samples }, [], { part, all });
  }

  async function take(blob, name) {
    heard = await decode(blob, name);
    URL.revokeObjectURL(player.src);
    Object.assign(player, { src: URL.createObjectURL(blob), hidden: false });
    again.hidden = false;
    section.querySelector('.hint').hidden = true;
    await transcribe();
  }

  takeFiles((file) => take(file, file.name));
  again.addEventListener('click', transcribe);
  section.querySelector('.sample').addEventListener('click', () =>
    orFail(outcome, async () => {
      const response = await fetch(new URL('./data/jfk.wav', import.meta.url));
      if (!response.ok) throw new Error(`The sample cannot be read: ${response.status}.`);
      await take(await response.blob(), 'the sample');
    }),
  );
  prepareRecorder(section.querySelector('.record'), outcome, (blob) => take(blob, 'the recording'));
}

async function orFail(outcome, work) {
  outcome.start('opening the recording…');
  try {
    await work();
  } catch (error) {
    outcome.fail(error.message);
  }
}

/** One channel at the model's rate, no longer than it takes; the browser knows the formats. */
async function decode(blob, name) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const audio = await context.decodeAudioData(await blob.arrayBuffer()).catch(() => null);
  if (!audio) throw new Error(`“${name}” is no recording that this browser can open.`);
  if (audio.duration < SHORTEST_SECONDS) throw new Error(`“${name}” is too short to hear anything.`);
  const length = Math.min(audio.length, LONGEST_SECONDS * RATE);
  const mixed = new Float32Array(length);
  for (let c = 0; c < audio.numberOfChannels; c++) {
    const channel = audio.getChannelData(c);
    for (let i = 0; i < length; i++) mixed[i] += channel[i] / audio.numberOfChannels;
  }
  return { samples: mixed, isCut: length < audio.length };
}

function cutNote() {
  const note = document.createElement('small');
  note.textContent = ` (Only the first ${LONGEST_SECONDS} seconds were heard.)`;
  return note;
}

/** A button that starts and stops the microphone, and stops it by itself when the recording is as long as can be. */
function prepareRecorder(button, outcome, take) {
  let recorder;
  button.addEventListener('click', () => {
    if (recorder) recorder.stop();
    else start().catch((error) => outcome.fail(error.message));
  });

  async function start() {
    const stream = await openMicrophone();
    const parts = [];
    recorder = new MediaRecorder(stream);
    const limit = setTimeout(() => recorder.stop(), LONGEST_SECONDS * 1000);
    recorder.addEventListener('dataavailable', ({ data }) => parts.push(data));
    recorder.addEventListener('stop', () => {
      clearTimeout(limit);
      for (const track of stream.getTracks()) track.stop();
      const { mimeType } = recorder;
      recorder = undefined;
      show(false);
      orFail(outcome, () => take(new Blob(parts, { type: mimeType })));
    });
    recorder.start();
    show(true);
  }

  function show(is) {
    button.setAttribute('aria-pressed', String(is));
    button.textContent = is ? 'Stop' : 'Record';
    if (is) outcome.note('listening to the microphone…');
  }
}

async function openMicrophone() {
  if (!navigator.mediaDevices) throw new Error('The microphone needs a secure page: https, or localhost.');
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Error(
      error.name === 'NotFoundError'
        ? 'There is no microphone.'
        : 'The browser does not let this page use the microphone.',
    );
  }
}
