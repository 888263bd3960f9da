//! The live side against servers that break in every way, as told.

mod script;
mod socket;
mod socket_script;
mod stream;
mod stream_script;
