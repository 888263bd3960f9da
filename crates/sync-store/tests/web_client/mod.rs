//! Models of the web clients that exist, as they are told in the reference: they speak JSON with a [`Server`] and know
//! nothing of how it works. [`World`] lets several of them run against one server in a random interleaving.

mod client;
mod dice;
mod edits;
mod ending;
mod members;
mod oldest;
mod oracle;
mod scenario;
mod server;
mod world;

pub(crate) use client::{Held, Source, WebClient};
pub(crate) use dice::Dice;
pub(crate) use oldest::OldestClient;
pub(crate) use oracle::Oracle;
pub(crate) use scenario::Scenario;
pub(crate) use server::{InProcess, PullRequest, PushRequest, Server};
pub(crate) use world::{TABLES, World};
