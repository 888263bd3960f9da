//! What takes the whole machine: everything that can fail between nodes does, under load; and a stop with many who listen.

mod faults;
mod load;
mod replica;
mod shutdown;
mod verdict;
mod witness;
