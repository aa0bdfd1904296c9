import { useEffect, useState } from 'preact/hooks';
import type { RequestOption, RequestView } from '../sdk/wire';
import type { App, Sent, State } from './app';
import { ago, useNow } from './hooks';
import { Change } from './item';
import { visible } from './visible';

const SETTLE_MS = 400;

interface Props {
  app: App;
  state: State;
  request: RequestView;
}

/** The newest answer of this phone to a request. */
function answerOf(state: State, request: string): Sent | undefined {
  return [...state.sent.values()].findLast((s) => s.command.c === 'answer' && s.command.request === request);
}

/** sent → the desktop has it → the agent resolved it. */
function progressOf(request: RequestView, mine: Sent | undefined): string | undefined {
  if (request.state === 'answered') return `${request.answer?.by ?? 'Somebody'} answered “${request.answer?.label ?? ''}”. The desktop has it.`;
  if (mine?.mark === 'waiting') return 'Your answer waits on this phone.';
  if (mine?.mark === 'sent') return 'Your answer is at the relay.';
  if (mine?.mark === 'desktop') return 'Your answer is at the desktop.';
  return undefined;
}

export function RequestCard({ app, state, request }: Props) {
  const now = useNow();
  const [armed, setArmed] = useState<string>();
  const [ready, setReady] = useState(false);
  // A card that appears under a finger is not answered by it.
  useEffect(() => {
    const timer = setTimeout(() => setReady(true), SETTLE_MS);
    return () => clearTimeout(timer);
  }, []);
  const [answers, setAnswers] = useState<Record<string, string[]>>({});
  const mine = answerOf(state, request.id);
  const progress = progressOf(request, mine);
  const failed = mine?.mark === 'failed' ? mine.text : undefined;
  const busy = mine?.mark === 'waiting' || mine?.mark === 'sent' || mine?.mark === 'desktop';

  if (request.state === 'void') {
    return (
      <article class="card quiet void" aria-label="Request that is void">
        <p><s>{visible(request.command ?? request.title)}</s></p>
        <p class="muted small">Void: {request.note}.</p>
      </article>
    );
  }
  if (request.state === 'resolved') {
    return <p class="notice small">{request.answer?.by ?? 'Somebody'} answered “{request.answer?.label}” {ago(request.answer?.at, now)}.</p>;
  }

  const choose = (option: RequestOption) => {
    // What reaches further than this once takes a second tap.
    if (option.reach && armed !== option.id) {
      setArmed(option.id);
      // The second half of a double tap is no second tap.
      setReady(false);
      setTimeout(() => setReady(true), SETTLE_MS);
      return;
    }
    void app.give({ c: 'answer', request: request.id, option: option.id, ...(hasAnswers(answers) && { answers }) });
  };
  const say = (question: string, answer: string) => setAnswers({ ...answers, [question]: [answer] });
  const complete = (request.questions ?? []).every((q) => (answers[q.id]?.some((a) => a.trim() !== '') ?? false));

  return (
    <article class="card ask" aria-label={request.title}>
      <p class="head"><strong>{request.title}</strong><span class="muted small">asked {ago(request.askedAt, now)}</span></p>
      {request.command && <pre class="exact" tabIndex={0} dir="ltr">{visible(request.command)}</pre>}
      {request.cwd && <p class="small">in <code dir="ltr">{visible(request.cwd)}</code></p>}
      {request.reason && <p class="reason">Reason: <bdi>{request.reason}</bdi></p>}
      {request.changes?.map((change) => <Change change={change} />)}
      {request.questions?.map((q) => (
        <fieldset>
          <legend>{q.text}</legend>
          {q.choices.map((choice) => (
            <label class="choice">
              <input type="radio" name={`${request.id}-${q.id}`} checked={answers[q.id]?.[0] === choice}
                onChange={() => say(q.id, choice)} />
              {choice}
            </label>
          ))}
          {q.free && (
            <label>
              Other
              {q.secret ? (
                <input type="password" autocomplete="off" onInput={(e) => say(q.id, e.currentTarget.value)} />
              ) : (
                <input onInput={(e) => say(q.id, e.currentTarget.value)} />
              )}
            </label>
          )}
        </fieldset>
      ))}
      {progress && <p class="small" role="status">{progress}</p>}
      {failed && <p class="error small" role="alert">{failed}</p>}
      {request.state === 'open' && !busy && (
        <div class="options">
          {request.options.map((option) => (
            <button class={option.allows ? (option.reach ? 'far' : 'primary') : ''} disabled={!ready} onClick={() => choose(option)}>
              {armed === option.id ? `Tap again: ${option.label}` : option.label}
              {option.reach && <span class="reach small">{option.reach}</span>}
            </button>
          ))}
          {request.options.length === 0 && (
            <button class="primary" disabled={!ready || !complete} onClick={() => void app.give({ c: 'answer', request: request.id, answers })}>Answer</button>
          )}
        </div>
      )}
    </article>
  );
}

const hasAnswers = (answers: Record<string, string[]>) => Object.keys(answers).length > 0;
