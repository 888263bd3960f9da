//! The live side against servers that break in every way, as told.

mod pauses;
mod script;
mod socket;
mod socket_script;
mod stream;
mod stream_script;
mod tokens;
