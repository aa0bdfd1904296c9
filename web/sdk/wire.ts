// Generated from crates/wire by `make types`. Do not edit.

/* eslint-disable */

export type SessionId = string;
export type MemberId = string;
export type ConnectionId = string;
export type RequestId = string;
export type RendezvousId = string;
export type Bytes32 = string;
export type Bytes64 = string;
export type KeyHash = string;
export type PublicKey = { 
/**
 * Ed25519 public key (RFC 8032).
 */
sign: Bytes32, 
/**
 * X25519 public key (RFC 7748); end-to-end encryption starts from it.
 */
agree: Bytes32, };
export type Channel = string;
export type Epoch = string;
export type Seq = number;
export type Position = { 
/**
 * The writer's memory that numbered the message.
 */
epoch: Epoch, 
/**
 * The number in that epoch.
 */
seq: Seq, 
/**
 * In `auth.base` only: this epoch was never announced before.
 */
fresh?: boolean, };
export type Secret = string;
export type RawJson = unknown;
export type ClientInfo = { name: string, version: string, 
/**
 * Random per run of the program (page load, process start).
 */
instance: string, 
/**
 * Counts connections of this instance; the higher one wins.
 */
attempt: number, };
export type From = { 
/**
 * Absent for the host.
 */
member?: MemberId, connection: ConnectionId, };
export type LimitsView = { messageBytes: number, windowMessages: number, windowBytes: number, logMessages: number, logBytes: number, logAgeMs: number, };
export type Resumed = { 
/**
 * A `gap` frame follows.
 */
gap?: boolean, 
/**
 * The first number that will be sent.
 */
from: Seq, 
/**
 * How many retained messages will be sent before `live`.
 */
count: number, };
export type PresenceMember = { member: MemberId, connected: boolean, 
/**
 * Unix milliseconds.
 */
seenAt: number, };
export type DeviceView = { member: MemberId, name: string, platform: string, 
/**
 * Unix milliseconds.
 */
addedAt: number, 
/**
 * Unix milliseconds; the pairing counts.
 */
seenAt: number, connected: boolean, };
export type NackReason = "hole" | "log_lost" | "rate_limited" | "full" | "busy" | "log_unavailable" | "too_large" | "not_allowed" | "epoch_closed" | "conflict" | "host_offline";
export type DeviceInfo = { name: string, platform: string, };
export type HostInfo = { name: string, platform: string, publicKey: PublicKey, };
export type StartPair = { rendezvous?: RendezvousId, code?: Secret, device: DeviceInfo, 
/**
 * Hash over both halves of the phone's key and its opening.
 */
commit: Bytes32, };
export type PairStarted = { request: RequestId, hostName: string, hostPublicKey: PublicKey, hostNonce: Bytes32, 
/**
 * The lease's own id, an input of the comparison code.
 */
rendezvous: RendezvousId, 
/**
 * Unix milliseconds.
 */
expiresAt: number, };
export type RevealPair = { publicKey: PublicKey, opening: Bytes32, };
export type Paired = { session: SessionId, member: MemberId, token: Secret, 
/**
 * The host's signature over request, key hash and expiry: the phone checks that its own key
 * was approved.
 */
signature: Bytes64, 
/**
 * Unix milliseconds; part of what was signed.
 */
approvalExpiresAt: number, };
export type PairOutcome = "paired" | "rejected" | "expired" | "conflict" | "mismatch" | "device_limit" | "host_gone";
export type ApiErrorBody = { 
/**
 * A stable name.
 */
error: string, 
/**
 * What happened and what to do, for a person.
 */
message: string, retryAfterMs?: number, };
export type HelloFrame = { k: "hello", /**
 * Fresh, with its issue time and a MAC; signed by `auth.proof`.
 */
nonce: string, versions: Array<string>, limits: LimitsView, };
export type AuthFrame = { k: "auth", version: string, token: Secret, nonce: string, 
/**
 * Signature over label, origin, session, device, nonce and token hash.
 */
proof?: Bytes64, client: ClientInfo, 
/**
 * Last applied position per channel read.
 */
resume?: { [key in Channel]?: Position }, 
/**
 * Lowest number that can still be sent, per channel written.
 */
base?: { [key in Channel]?: Position }, };
export type WelcomeFrame = { k: "welcome", session: SessionId, member?: MemberId, connection: ConnectionId, 
/**
 * An offer; it commits when it is first used or confirmed.
 */
nextToken?: Secret, 
/**
 * Head of each log that this client writes; absent where there is no log.
 */
accepted: { [key in Channel]?: Position }, resumed: { [key in Channel]?: Resumed }, 
/**
 * Channels whose log cannot be read now.
 */
pending: Array<Channel>, limits: LimitsView, heartbeatMs: number, node: string, hostConnected: boolean, notices: Array<string>, };
export type AcceptedFrame = { k: "accepted", pos: { [key in Channel]?: Position }, };
export type OpenFrame = { k: "open", id: number, ch: Channel, epoch: Epoch, };
export type MsgFrame = { k: "msg", ch: Channel, epoch: Epoch, seq: Seq, flags?: number, 
/**
 * Volatile messages of this key that came before are outdated.
 */
key?: string, 
/**
 * Its former names, oldest first: a reader that applied one of them has it.
 */
was?: Array<Position>, 
/**
 * Relay time in Unix milliseconds; set by the relay.
 */
at?: number, 
/**
 * Who wrote it; set by the relay, always.
 */
from?: From, p: RawJson, };
export type VoidFrame = { k: "void", ch: Channel, epoch: Epoch, seq: Seq, reason: string, };
export type SkipFrame = { k: "skip", ch: Channel, epoch: Epoch, to: Seq, reason: string, };
export type EpochFrame = { k: "epoch", ch: Channel, new: Epoch, base: Seq, prev?: Epoch, prevLast?: Seq, };
export type VolFrame = { k: "vol", ch: Channel, epoch: Epoch, 
/**
 * Last durable number when it was made.
 */
after: Seq, vseq: number, key: string, p: RawJson, };
export type AckFrame = { k: "ack", pos: { [key in Channel]?: Position }, };
export type StableFrame = { k: "stable", pos: { [key in Channel]?: Position }, };
export type NackFrame = { k: "nack", ch: Channel, epoch?: Epoch, expect?: Seq, reason: NackReason, retryMs?: number, };
export type GapFrame = { k: "gap", ch: Channel, epoch: Epoch, from: Seq, to: Seq, reason: string, };
export type LostFrame = { k: "lost", ch: Channel, epoch: Epoch, from: Seq, to: Seq, reason: string, };
export type SnapshotFrame = { k: "snapshot", id: string, reason: string, 
/**
 * Which member asks; set by the relay.
 */
from?: MemberId, };
export type PresenceFrame = { k: "presence", hostConnected: boolean, 
/**
 * Unix milliseconds.
 */
hostSeenAt?: number, 
/**
 * To the host only.
 */
members?: Array<PresenceMember>, };
export type DrainFrame = { k: "drain", reason: string, deadlineMs: number, reconnectInMs: number, endpoint?: string, };
export type NoticeFrame = { k: "notice", code: string, text: string, };
export type TokenOfferFrame = { k: "token.offer", token: Secret, };
export type TokenConfirmFrame = { k: "token.confirm", token: Secret, };
export type TokenCommittedFrame = { k: "token.committed", };
export type PairCommitFrame = { k: "pair.commit", id: RequestId, device: DeviceInfo, address: string, commit: Bytes32, 
/**
 * The code was typed, so the phone does not have the QR's secret.
 */
typed: boolean, };
export type PairNonceFrame = { k: "pair.nonce", id: RequestId, nonce: Bytes32, 
/**
 * The lease's own id, an input of the comparison code; the relay keeps only its hash.
 */
rendezvous: RendezvousId, };
export type PairRequestFrame = { k: "pair.request", id: RequestId, device: DeviceInfo, address: string, key: PublicKey, opening: Bytes32, 
/**
 * Unix milliseconds.
 */
expiresAt: number, };
export type PairDecisionFrame = { k: "pair.decision", id: RequestId, approved: boolean, key: KeyHash, expiresAt: number, signature: Bytes64, };
export type PairWaitingFrame = { k: "pair.waiting", id: RequestId, waiting: boolean, };
export type PairEndedFrame = { k: "pair.ended", id: RequestId, outcome: PairOutcome, member?: MemberId, };
export type DeviceListFrame = { k: "device.list", };
export type DeviceListedFrame = { k: "device.listed", devices: Array<DeviceView>, used: number, allowed: number, };
export type DeviceRevokeFrame = { k: "device.revoke", member: MemberId, };
export type DeviceRevokedFrame = { k: "device.revoked", member: MemberId, durable: boolean, };
export type PingFrame = { k: "ping", n: number, t: number, top?: { [key in Channel]?: Position }, };
export type PongFrame = { k: "pong", n: number, t: number, };
export type LiveFrame = { k: "live", pos: { [key in Channel]?: Position }, };
export type ByeFrame = { k: "bye", code: number, reason: string, retry: boolean, retryInMs: number, };
export type Frame = HelloFrame | AuthFrame | WelcomeFrame | AcceptedFrame | OpenFrame | MsgFrame | VoidFrame | SkipFrame | EpochFrame | VolFrame | AckFrame | StableFrame | NackFrame | GapFrame | LostFrame | SnapshotFrame | PresenceFrame | DrainFrame | NoticeFrame | TokenOfferFrame | TokenConfirmFrame | TokenCommittedFrame | PairCommitFrame | PairNonceFrame | PairRequestFrame | PairDecisionFrame | PairWaitingFrame | PairEndedFrame | DeviceListFrame | DeviceListedFrame | DeviceRevokeFrame | DeviceRevokedFrame | PingFrame | PongFrame | LiveFrame | ByeFrame;
export type Envelope = { 
/**
 * [`APP_VERSION`].
 */
v: number, 
/**
 * Key epoch of the encryption; 0 means that `b` is plain JSON.
 */
ke: number, 
/**
 * The body; a base64url string when encrypted.
 */
b: RawJson, };
export type FromHost = { "t": "agent", agent: AgentView, } | { "t": "thread", thread: ThreadView, } | { "t": "item", thread: string, item: Item, } | { "t": "delta", thread: string, item: string, offset: number, text: string, } | { "t": "request", request: RequestView, } | { "t": "command", command: CommandView, } | { "t": "result", outcome: CommandOutcome, } | { "t": "snapshot", 
/**
 * The request's id.
 */
id: string, part: number, parts: number, 
/**
 * Position of `down` that this state includes.
 */
epoch: Epoch, seq: Seq, body: SnapshotBody, };
export type FromMember = { "t": "command", command: CommandRequest, };
export type Item = { id: string, 
/**
 * The turn that made it.
 */
turn?: string, 
/**
 * Place in the thread, from 1; later items have higher numbers.
 */
ord: number, 
/**
 * Grows with every change; the higher one wins.
 */
rev: number, 
/**
 * First seen, Unix milliseconds.
 */
at: number, body: ItemBody, };
export type ItemBody = { "kind": "user", text: string, command?: string, } | { "kind": "message", text: string, done: boolean, } | { "kind": "reasoning", text: string, done: boolean, } | { "kind": "plan", steps: Array<PlanStep>, } | { "kind": "command", command: string, cwd: string, progress: Progress, output: string, 
/**
 * Bytes in all, also those that are not in `output`.
 */
outputBytes: number, exitCode?: number, durationMs?: number, } | { "kind": "fileChange", changes: Array<FileChange>, progress: Progress, } | { "kind": "tool", title: string, progress: Progress, text: string, } | { "kind": "notice", text: string, } | { "kind": "other", name: string, value: unknown, };
export type FileChange = { path: string, 
/**
 * `add`, `delete`, `update` or the agent's own word.
 */
change: string, 
/**
 * Unified diff or the whole new text, as the agent gave it.
 */
diff: string, };
export type PlanStep = { text: string, 
/**
 * `pending`, `inProgress`, `completed` or the agent's own word.
 */
status: string, };
export type Progress = "running" | "completed" | "failed" | "declined";
export type AgentState = "starting" | "ready" | "restarting" | "down";
export type AgentView = { 
/**
 * `codex`, `acp`, `scripted`.
 */
id: string, name: string, version: string, state: AgentState, text?: string, 
/**
 * When `state` was last known, Unix milliseconds.
 */
seenAt: number, };
export type Answer = { 
/**
 * Name of the device.
 */
by: string, 
/**
 * Label of the option, or the answers.
 */
label: string, 
/**
 * Unix milliseconds.
 */
at: number, 
/**
 * The command that brought it.
 */
command: string, };
export type Question = { id: string, text: string, choices: Array<string>, 
/**
 * Own words are allowed.
 */
free: boolean, 
/**
 * The answer must not be shown.
 */
secret: boolean, };
export type RequestKind = "command" | "permission" | "fileChange" | "question";
export type RequestOption = { id: string, label: string, 
/**
 * True if it allows something.
 */
allows: boolean, 
/**
 * How far it reaches, when it reaches further than this request; such an option takes a
 * second tap.
 */
reach?: string, };
export type RequestState = "open" | "answered" | "resolved" | "void";
export type RequestView = { id: string, thread: string, item?: string, kind: RequestKind, title: string, 
/**
 * The exact command line.
 */
command?: string, cwd?: string, reason?: string, changes?: Array<FileChange>, questions?: Array<Question>, options: Array<RequestOption>, 
/**
 * Unix milliseconds; its age follows.
 */
askedAt: number, state: RequestState, answer?: Answer, 
/**
 * Why it is void.
 */
note?: string, rev: number, };
export type SnapshotBody = { host: string, agents: Array<AgentView>, folders: Array<string>, 
/**
 * The newest threads that are not archived.
 */
threads: Array<ThreadView>, 
/**
 * All that are open or answered, and the newest that are not.
 */
requests: Array<RequestView>, 
/**
 * Commands whose effect is unknown.
 */
commands: Array<CommandView>, };
export type ThreadStatus = "stored" | "idle" | "running" | "waiting" | "failed";
export type ThreadView = { id: string, agent: string, title: string, folder: string, 
/**
 * Unix milliseconds.
 */
createdAt: number, updatedAt: number, status: ThreadStatus, 
/**
 * Cause of `failed`.
 */
error?: string, archived: boolean, rev: number, };
export type Command = { "c": "threadList", before?: number, limit: number, } | { "c": "threadStart", agent: string, folder: string, prompt?: string, } | { "c": "threadResume", thread: string, } | { "c": "threadRename", thread: string, title: string, } | { "c": "threadArchive", thread: string, } | { "c": "turnStart", thread: string, text: string, } | { "c": "turnInterrupt", thread: string, } | { "c": "answer", request: string, option?: string, 
/**
 * Question id to chosen labels or own words.
 */
answers?: { [key in string]: Array<string> }, } | { "c": "itemPage", thread: string, before?: number, limit: number, } | { "c": "itemGet", thread: string, item: string, } | { "c": "settle", command: string, how: Settle, };
export type CommandOutcome = { id: string, state: CommandState, 
/**
 * Cause and next step, when it did not go well.
 */
text?: string, 
/**
 * What the command returns.
 */
data?: unknown, };
export type CommandRequest = { 
/**
 * Chosen by the member, 1 to 128 characters of `[A-Za-z0-9:_-]`, unique for ever.
 */
id: string, command: Command, 
/**
 * When the person gave it, Unix milliseconds.
 */
at: number, };
export type CommandState = "done" | "failed" | "unknown" | "dropped";
export type CommandView = { id: string, command: Command, 
/**
 * Unix milliseconds.
 */
at: number, 
/**
 * False once it was settled.
 */
unknown: boolean, };
export type Settle = "sendAgain" | "drop";
export const CLOSE_CODES: Record<number, { label: string; text: string }> = {
  4400: { label: "protocol_error", text: "This app and the relay do not understand each other. Reload the page or update the app." },
  4401: { label: "not_authenticated", text: "The relay did not accept this device's key. Pair it again." },
  4403: { label: "revoked", text: "This device was removed on the desktop. Pair it again to go on." },
  4404: { label: "unknown_device", text: "The relay does not know this device. Pair it again." },
  4409: { label: "taken_over", text: "This device is connected from another window." },
  4410: { label: "session_ended", text: "The desktop ended this session. Pair again to go on." },
  4412: { label: "stale_token", text: "This window holds an outdated key. Reload the page." },
  4503: { label: "unavailable", text: "The relay is restarting. Reconnecting by itself." },
  4508: { label: "slow_consumer", text: "The connection was too slow. Reconnecting by itself." },
  4510: { label: "outdated_attempt", text: "A newer connection of this window exists." },
  4511: { label: "moved", text: "The connection moved to a newer socket." },
  4529: { label: "rate_limited", text: "Too many messages at once. Reconnecting in a moment." },
  4598: { label: "ping_timeout", text: "The connection went silent. Reconnecting by itself." },
};
export const FINGERPRINT = "28657b66f52d835a";
