# An agent that speaks ACP. It notes in a file each session, prompt and answer that reached it, and holds the
# lock of that file as long as it lives. A prompt that begins with `ASK` waits for an answer.
import fcntl, json, os, sys

notes = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
fcntl.flock(notes, fcntl.LOCK_SH)
asked = {}

def note(what, about):
    os.write(notes, f"{what} {about}\n".encode())

def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

def answer(id, result):
    say({"id": id, "result": result})

def chunk(session, text):
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    say({"method": "session/update", "params": {"sessionId": session, "update": update}})

def ask(session, prompt, text):
    question = f"q-{prompt}"
    asked[question] = (session, prompt, text)
    tool = {"toolCallId": question, "title": text, "kind": "execute", "status": "pending"}
    options = [{"optionId": "yes", "name": "Allow", "kind": "allow_once"}]
    params = {"sessionId": session, "toolCall": tool, "options": options}
    say({"id": question, "method": "session/request_permission", "params": params})

for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params", {})
    if method == "initialize":
        answer(id, {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}})
    elif method == "session/new":
        note("session", params["cwd"])
        answer(id, {"sessionId": f"s-{os.urandom(8).hex()}"})
    elif method == "session/load":
        answer(id, {})
    elif method == "session/prompt":
        session, text = params["sessionId"], params["prompt"][0]["text"]
        note("prompt", text)
        if text.startswith("ASK"):
            ask(session, id, text)
        else:
            chunk(session, "heard")
            answer(id, {"stopReason": "end_turn"})
    elif id in asked:
        session, prompt, text = asked.pop(id)
        note("answer", text)
        chunk(session, "thanks")
        answer(prompt, {"stopReason": "end_turn"})
