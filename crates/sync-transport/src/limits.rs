//! How long a request may take and how many may come; what the operator may set, with the values that stand if not.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// From the first byte of a request's head to its last; also how long a connection may be idle between requests.
const HEAD: Duration = Duration::from_secs(10);
/// From the first look at a body to its last byte.
const BODY: Duration = Duration::from_secs(30);
/// From the end of the head to the beginning of the answer.
const REQUEST: Duration = Duration::from_secs(60);
/// How long a client may take no byte of an answer.
const STALL: Duration = Duration::from_secs(30);
/// From the wish to stop to the end of the last request.
const DRAIN: Duration = Duration::from_secs(10);
/// How long an HTTP/2 connection may be open with no stream on it that the server works for.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of large bodies that are held at a time, by all requests together.
const BODIES: usize = 256 << 20;
/// From the handshake of a socket to its sign-in.
const SIGN_IN: Duration = Duration::from_secs(10);
/// Between two heartbeats of a stream; and how long a socket is silent before it is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long a socket may be silent.
const SILENCE: Duration = Duration::from_secs(75);
/// Reads of the store for streams at a time.
const STREAM_READS: usize = 4;
/// Connections at a time.
const CONNECTIONS: usize = 10_000;

/// Limits of a listener. How large a body may be is not among them: that is the protocol's
/// ([`MAX_BODY_BYTES`](sync_protocol::MAX_BODY_BYTES)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the head of a request may take to arrive, and a connection be idle. After it the connection is closed.
    pub head: Duration,
    /// How long a body may take to arrive. After it the answer is 408.
    pub body: Duration,
    /// How long a request may take until its answer begins. After it the answer is 503.
    pub request: Duration,
    /// How long a client may take nothing of an answer. After it the connection is closed.
    pub stall: Duration,
    /// How long requests may go on once the server is to stop. After it their connections are closed.
    pub drain: Duration,
    /// How long a connection may go without a request under way and without 16 KiB of an answer taken. After it the client is
    /// told to go (GOAWAY), and cut off if it is still there five times as long later. Of HTTP/1.1 `head` is sooner.
    pub idle: Duration,
    /// How many bytes of large bodies there may be at a time, each counted as the largest there may be
    /// ([`MAX_BODY_BYTES`](sync_protocol::MAX_BODY_BYTES)); there is always room for one. A body is large beyond 64 KiB, as
    /// sent or unpacked, and counts until its request is answered. Further ones wait unread, at most for `body`; after it
    /// the answer is 503. Small ones are not counted: `connections` bounds them.
    pub bodies: usize,
    /// How many connections there may be at a time, those of streams and sockets among them. Further ones wait, unaccepted,
    /// until one of these is closed.
    pub connections: usize,
    /// How long a socket may take to sign in. After it, it is closed with 1008.
    pub sign_in: Duration,
    /// How long after the last heartbeat of a stream the next one comes; and how long a socket may say nothing until it is
    /// sent a ping.
    pub heartbeat: Duration,
    /// How long a socket may say nothing at all, not even a pong. After it, it is closed with 1001.
    pub silence: Duration,
    /// How many reads of the store streams and sockets may do at a time. Further ones wait for their turn, so that however
    /// many are told of something at once, they leave room for pushes and pulls: about half of what the store can do.
    pub stream_reads: usize,
    /// How many requests one user may make in a minute, a quarter of them at once; `None` for as many as it likes. Beyond it
    /// the answer is 429. A stream counts as one, and so does each sign-in of a socket.
    pub user_rate: Option<NonZeroU32>,
    /// How many requests may come from one address in a minute, as for `user_rate`, whoever makes them; those for health,
    /// readiness and metrics do not count. An IPv6 network (/64) is one address.
    pub address_rate: Option<NonZeroU32>,
    /// How many connections one address may have at a time, unless it is a trusted proxy's; `None` for no cap of its own. A
    /// further one is answered 429, and closed.
    pub address_connections: Option<NonZeroUsize>,
    /// Whether these three hold for programs on this machine, too.
    pub loopback: Loopback,
}

/// What holds for a connection from this machine that brings nobody else's requests (`X-Forwarded-For`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// The limits of each user and address.
    Limited,
    /// None of them.
    Spared,
}

impl Default for Limits {
    /// 10 s for the head, 30 s for the body, 60 s in all, 30 s without taking a byte, 10 s to drain, 60 s idle, 256 MiB of
    /// bodies, 10,000 connections, 10 s to sign in, 30 s to a heartbeat, 75 s of silence, 4 reads for streams; nothing for
    /// each user or address.
    fn default() -> Self {
        Self {
            head: HEAD,
            body: BODY,
            request: REQUEST,
            stall: STALL,
            drain: DRAIN,
            idle: IDLE,
            bodies: BODIES,
            connections: CONNECTIONS,
            sign_in: SIGN_IN,
            heartbeat: HEARTBEAT,
            silence: SILENCE,
            stream_reads: STREAM_READS,
            user_rate: None,
            address_rate: None,
            address_connections: None,
            loopback: Loopback::Limited,
        }
    }
}
