# fake-acp.py: an agent that speaks ACP and misbehaves as its prompts say. It answers each line that it
# reads; `LATE` and `LATE-ASK` go on after their turn, `DIE` ends without an answer, `HANG` never answers.
import json, sys, time

def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

def update(kind, **members):
    say({"method": "session/update", "params": {"sessionId": "s1", "update": {"sessionUpdate": kind, **members}}})

def chunk(text):
    update("agent_message_chunk", content={"type": "text", "text": text})

def ask(number):
    tool = {"toolCallId": f"t{number}", "title": "touch x", "kind": "execute", "status": "pending",
            "rawInput": {"command": "touch x", "description": "because"}}
    options = [{"optionId": "yes", "name": "Allow", "kind": "allow_once"},
               {"optionId": "no", "name": "Reject", "kind": "reject_once"}]
    say({"id": number, "method": "session/request_permission",
         "params": {"sessionId": "s1", "toolCall": tool, "options": options}})

def form():
    schema = {"properties": {"colour": {"type": "string", "oneOf": [{"const": "Red"}, {"const": "Blue"}]},
                             "count": {"type": "integer"}}, "required": ["colour"]}
    say({"id": 7, "method": "elicitation/create",
         "params": {"mode": "form", "sessionId": "s1", "message": "Which?", "requestedSchema": schema}})

prompt = None
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    done = lambda: say({"id": prompt, "result": {"stopReason": "end_turn"}})
    if method == "initialize":
        say({"id": id, "result": {"protocolVersion": 1, "agentInfo": {"name": "fake", "version": "1"}, "agentCapabilities": {}}})
    elif method == "session/new":
        say({"id": id, "result": {"sessionId": "s1"}})
        update("available_commands_update", availableCommands=[])
    elif method == "session/prompt":
        prompt, text = id, message["params"]["prompt"][0]["text"]
        if text == "DIE":
            sys.exit(3)
        elif text == "REFUSE":
            say({"id": id, "error": {"code": -32000, "message": "log in first"}})
        elif text == "ASK":
            ask(0)
        elif text == "FORM":
            form()
        elif text == "HANG":
            chunk("working")
        elif text == "LATE":
            done()
            time.sleep(0.3)
            for word in ("one ", "two ", "END"):
                chunk(word)
        elif text == "LATE-ASK":
            done()
            ask(1)
        else:
            chunk("you said " + text)
            done()
    elif method == "session/cancel":
        say({"id": prompt, "result": {"stopReason": "cancelled"}})
    elif method is None:
        chunk("answered " + json.dumps(message["result"], sort_keys=True))
        if id in (0, 7):
            done()
