import type { Command, CommandView } from '../sdk/wire';
import type { App, State } from './app';

/** Commands of a thread, or of none, of which nobody knows whether they were done. */
export function UnknownCommands({ app, state, thread }: { app: App; state: State; thread?: string }) {
  const theirs = [...state.unknown.values()].filter((c) => ('thread' in c.command ? c.command.thread : undefined) === thread);
  return (
    <>
      {theirs.map((command) => <Unknown key={command.id} app={app} command={command} />)}
    </>
  );
}

function Unknown({ app, command }: { app: App; command: CommandView }) {
  const settle = (how: 'drop' | 'sendAgain') => void app.give({ c: 'settle', command: command.id, how });
  return (
    <article class="card warn">
      <p><strong>It is not known whether this was done.</strong> The agent or the desktop ended in between.</p>
      <p class="quote">{inWords(command.command)}</p>
      <div class="row">
        <button onClick={() => settle('drop')}>Drop it</button>
        <button class="primary" onClick={() => settle('sendAgain')}>Send again</button>
      </div>
    </article>
  );
}

export function inWords(command: Command): string {
  switch (command.c) {
    case 'turnStart': return command.text;
    case 'threadStart': return `New thread in ${command.folder}: ${command.prompt ?? ''}`;
    case 'threadRename': return `Rename to “${command.title}”`;
    case 'threadArchive': return 'Archive this thread';
    case 'turnInterrupt': return 'Stop the agent';
    case 'answer': return 'An answer to a request';
    default: return command.c;
  }
}
