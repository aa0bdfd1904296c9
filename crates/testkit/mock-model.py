# mock-model.py PORT [LOG]: OpenAI Responses, Chat Completions, Anthropic Messages and Gemini, on
# loopback only. Prompts steer it: `RUN <command>` calls the shell tool, `PATCH` changes a file, `ASK`
# asks a question, `SLOW` streams 200 words. Each model request adds a line to LOG.
import json,re,sys,time
from http.server import BaseHTTPRequestHandler as B,ThreadingHTTPServer as S
def plan(user,tools,after):                       # -> ("text",str) | ("call",tool,args)
    if after: return ("text","All done.")
    m=re.search(r"^RUN (.+)$",user,re.M)
    if m:
        for t in tools:
            if t=="exec_command": return ("call",t,{"cmd":m[1],"sandbox_permissions":"require_escalated","justification":"mock asks"})
            if t.lower() in("bash","run_shell_command"): return ("call",t,{"command":m[1],"description":"mock asks"})
    if re.search(r"^ASK",user,re.M) and "AskUserQuestion" in tools:
        return ("call","AskUserQuestion",{"questions":[{"question":"Which colour?","header":"Pick","multiSelect":False,"options":[{"label":"Red","description":"warm"},{"label":"Blue","description":"cool"}]}]})
    if user.startswith("ASK") and "request_user_input" in tools:
        return ("call","request_user_input",{"questions":[{"id":"q1","header":"Pick","question":"Which colour?","options":[{"label":"Red","description":"warm"},{"label":"Blue","description":"cool"}]}]})
    if user.startswith("PATCH") and "exec_command" in tools:
        return ("call","exec_command",{"cmd":"apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\nEOF\n"})
    return ("text"," ".join("word%d"%i for i in range(200)) if user.startswith("SLOW") else "Hello from the mock model.")
class H(B):
    protocol_version="HTTP/1.1"; n=0
    def log_message(s,*a): pass
    def js(s,o):
        b=json.dumps(o).encode(); s.send_response(200); s.send_header("content-type","application/json"); s.send_header("content-length",str(len(b))); s.end_headers(); s.wfile.write(b)
    def sse(s,evs,named):
        s.send_response(200); s.send_header("content-type","text/event-stream"); s.send_header("connection","close"); s.end_headers(); s.close_connection=True
        try:
            for e in evs:
                if named: s.wfile.write(b"event: "+e["type"].encode()+b"\n")
                s.wfile.write(b"data: "+(e if isinstance(e,str) else json.dumps(e)).encode()+b"\n\n"); s.wfile.flush(); time.sleep(.03)
        except (BrokenPipeError,ConnectionResetError): pass
    def do_GET(s): s.js({"object":"list","data":[{"id":"mock-model","object":"model"}],"models":[]})
    def do_POST(s):
        if len(sys.argv)>2: open(sys.argv[2],"a").write(s.path+"\n")
        b=json.loads(s.rfile.read(int(s.headers.get("content-length",0))) or b"{}"); H.n+=1; k=H.n; p=s.path.split("?")[0]
        txt=lambda c: c if isinstance(c,str) else "\n".join(x.get("text","") for x in c or [])
        if p.endswith("/responses"):
            it=b["input"]; u=[txt(i["content"]) for i in it if i.get("role")=="user"]; u=[x for x in u if not x.startswith("<")]
            r=plan(u[-1] if u else "",[t.get("name") for t in b.get("tools",[])],it[-1].get("type","").endswith("_output"))
            ev=[{"type":"response.created","response":{"id":"r%d"%k}}]
            if r[0]=="text":
                m={"type":"message","id":"m%d"%k,"role":"assistant","content":[]}
                ev.append({"type":"response.output_item.added","output_index":0,"item":m})
                ev+=[{"type":"response.output_text.delta","item_id":m["id"],"output_index":0,"content_index":0,"delta":w+" "} for w in r[1].split()]
                ev.append({"type":"response.output_item.done","output_index":0,"item":{**m,"content":[{"type":"output_text","text":r[1]}]}})
            else: ev.append({"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"f%d"%k,"call_id":"c%d"%k,"name":r[1],"arguments":json.dumps(r[2])}})
            ev.append({"type":"response.completed","response":{"id":"r%d"%k,"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}}); s.sse(ev,True)
        elif p.endswith("/chat/completions"):
            ms=b["messages"]; u=[txt(m["content"]) for m in ms if m["role"]=="user"]
            r=plan(u[-1] if u else "",[t["function"]["name"] for t in b.get("tools") or []],ms[-1]["role"]=="tool")
            base={"id":"c%d"%k,"object":"chat.completion.chunk","created":1,"model":"mock-model"}
            if not b.get("stream"): return s.js({**base,"object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"short"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}})
            c=lambda d,f=None: {**base,"choices":[{"index":0,"delta":d,"finish_reason":f}]}
            ev=[c({"role":"assistant","content":""})]
            ev+=[c({"content":w+" "}) for w in r[1].split()]+[c({},"stop")] if r[0]=="text" else [c({"tool_calls":[{"index":0,"id":"t%d"%k,"type":"function","function":{"name":r[1],"arguments":json.dumps(r[2])}}]}),c({},"tool_calls")]
            s.sse(ev+[{**base,"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}},"[DONE]"],False)
        elif p.endswith("/messages"):
            l=b["messages"][-1]; c=l["content"]; after=isinstance(c,list) and any(x.get("type")=="tool_result" for x in c)
            u=txt([x for x in c if x.get("type")=="text"] if isinstance(c,list) else c); r=plan(u,[t.get("name") for t in b.get("tools") or []],after)
            msg={"id":"m%d"%k,"type":"message","role":"assistant","model":b.get("model"),"content":[],"stop_reason":None,"stop_sequence":None,"usage":{"input_tokens":10,"output_tokens":1}}
            if not b.get("stream"): return s.js({**msg,"content":[{"type":"text","text":"short"}],"stop_reason":"end_turn"})
            t=r[0]=="text"; ev=[{"type":"message_start","message":msg},{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""} if t else {"type":"tool_use","id":"t%d"%k,"name":r[1],"input":{}}}]
            ev+=[{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":w+" "}} for w in r[1].split()] if t else [{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":json.dumps(r[2])}}]
            s.sse(ev+[{"type":"content_block_stop","index":0},{"type":"message_delta","delta":{"stop_reason":"end_turn" if t else "tool_use","stop_sequence":None},"usage":{"output_tokens":5}},{"type":"message_stop"}],True)
        elif "enerateContent" in p:
            ps=b["contents"][-1].get("parts",[]); r=plan("\n".join(x.get("text","") for x in ps),[f["name"] for t in b.get("tools") or [] for f in t.get("functionDeclarations",[])],any("functionResponse" in x for x in ps))
            g=lambda parts,f=None: {"candidates":[{"index":0,"content":{"role":"model","parts":parts},**({"finishReason":f} if f else {})}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}}
            if "stream" not in p: return s.js(g([{"text":"{}"}],"STOP"))
            ws=r[1].split(); s.sse([g([{"text":w+" "}],"STOP" if i==len(ws)-1 else None) for i,w in enumerate(ws)] if r[0]=="text" else [g([{"functionCall":{"name":r[1],"args":r[2]}}],"STOP")],False)
        else: s.js({"input_tokens":10,"totalTokens":10})
S(("127.0.0.1",int(sys.argv[1])),H).serve_forever()
